"""From the manifest to a trained backbone, as a checkpoint and as ONNX."""


rule train:
    input:
        manifest=rules.dataset.output.manifest,
    output:
        checkpoint="results/{backbone}/checkpoint.pt",
        history=report("results/{backbone}/history.csv", caption="../report/history.rst", category="Training",
                       labels={"backbone": "{backbone}"}),
    log:
        "results/logs/{backbone}/train.log",
    params:
        settings=lambda wildcards: settings(train_settings(wildcards.backbone)),
        code=code("train"),
    threads: training_threads
    priority: training_priority
    conda:
        "../../envs/environment.yaml"
    shell:
        "stage train --settings {params.settings:q} --log {log:q}"
        " --manifest {input.manifest:q} --root \"$ROOT\" --threads {threads} --code {params.code}"
        " --checkpoint {output.checkpoint:q} --history {output.history:q}"


rule export_fp32:
    input:
        checkpoint=rules.train.output.checkpoint,
        manifest=rules.dataset.output.manifest,
    output:
        model="results/{backbone}/fp32.onnx",
        metadata="results/{backbone}/fp32.json",
    log:
        "results/logs/{backbone}/export_fp32.log",
    params:
        code=code("export_fp32"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "stage export_fp32 --log {log:q} --threads {threads}"
        " --checkpoint {input.checkpoint:q} --manifest {input.manifest:q} --root \"$ROOT\""
        " --model {output.model:q} --metadata {output.metadata:q}"
