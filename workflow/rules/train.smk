"""From the manifest to a trained backbone, as a checkpoint and as ONNX."""


# It reruns only where train does, whose input it is: another recipe, or other code of a quantizer,
# must not train anything again. So it has the digest of train's code, and its recipes are not
# compared. (`ancient` would be no help: what follows an ancient file that is made again is not
# looked at, so changes of other settings would be missed.)
rule inspect_backbone:
    input:
        manifest=rules.dataset.output.manifest,
        weights=lambda wildcards: SWEEP.weights_files(wildcards.backbone),
    output:
        "results/{backbone}/inspection.json",
    log:
        "results/logs/{backbone}/inspect_backbone.log",
    # Before all trainings: what cannot work is said at once.
    priority: lambda wildcards: SWEEP.inspection_priority(wildcards.backbone)
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=mem_mb,
        runtime=runtime,
    params:
        settings=lambda wildcards: settings(SWEEP.inspect_settings(wildcards.backbone)),
        recipes=lambda wildcards: not_compared(SWEEP.inspect_recipes(wildcards.backbone)),
        code=code("train"),
        scripts=SCRIPTS,
    shell:
        "python3 {params.scripts:q}/inspect_backbone.py --parent $PPID --log {log:q}"
        " --settings {params.settings:q} --recipes {params.recipes:q}"
        " --manifest {input.manifest:q} --output-inspection {output:q}"


rule train:
    input:
        manifest=rules.dataset.output.manifest,
        pixels=lambda wildcards: SWEEP.pixels(wildcards.backbone),
        inspection=lambda wildcards: SWEEP.inspection(wildcards.backbone),
        weights=lambda wildcards: SWEEP.weights_files(wildcards.backbone),
    output:
        checkpoint="results/{backbone}/checkpoint.pt",
        history=report(
            "results/{backbone}/history.csv",
            caption="../report/history.rst",
            category="Training",
            labels={"backbone": "{backbone}"},
        ),
    log:
        "results/logs/{backbone}/train.log",
    priority: lambda wildcards: SWEEP.training_priority(wildcards.backbone)
    conda:
        "../../envs/environment.yaml"
    threads: lambda wildcards: SWEEP.training_threads(wildcards.backbone, run_cores())
    resources:
        gpu=lambda wildcards: SWEEP.gpus(wildcards.backbone),
        mem_mb=mem_mb,
        runtime=runtime,
    params:
        settings=lambda wildcards: settings(SWEEP.train_settings(wildcards.backbone)),
        code=code("train"),
        scripts=SCRIPTS,
        images=IMAGES,
    shell:
        "python3 {params.scripts:q}/train.py --parent $PPID --log {log:q}"
        " --settings {params.settings:q} --manifest {input.manifest:q} --root={params.images:q}"
        " --pixels {input.pixels:q} --threads {threads} --code {params.code}"
        " --output-checkpoint {output.checkpoint:q} --output-history {output.history:q}"


rule export_fp32:
    input:
        checkpoint=rules.train.output.checkpoint,
        manifest=rules.dataset.output.manifest,
        pixels=lambda wildcards: SWEEP.pixels(wildcards.backbone),
    output:
        model="results/{backbone}/fp32.onnx",
        metadata="results/{backbone}/fp32.json",
    log:
        "results/logs/{backbone}/export_fp32.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=mem_mb,
        runtime=runtime,
    params:
        code=code("export_fp32"),
        scripts=SCRIPTS,
        images=IMAGES,
    shell:
        "python3 {params.scripts:q}/export_fp32.py --parent $PPID --log {log:q}"
        " --checkpoint {input.checkpoint:q} --manifest {input.manifest:q} --root={params.images:q}"
        " --pixels {input.pixels:q} --threads {threads}"
        " --output-model {output.model:q} --output-metadata {output.metadata:q}"
