"""From an FP32 model to its INT8 variants."""


rule prepare:
    input:
        model=rules.export_fp32.output.model,
        metadata=rules.export_fp32.output.metadata,
        manifest=rules.dataset.output.manifest,
        pixels=lambda wildcards: SWEEP.pixels(wildcards.backbone),
    output:
        "results/{backbone}/prepared/{graph}.onnx",
    log:
        "results/logs/{backbone}/prepare-{graph}.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=mem_mb,
        runtime=runtime,
    params:
        rewrites=lambda wildcards: "--integer-rewrites" if wildcards.graph == "rewritten" else "",
        code=code("prepare"),
        scripts=SCRIPTS,
        images=IMAGES,
    shell:
        "python3 {params.scripts:q}/prepare.py --parent $PPID --log {log:q}"
        " --metadata {input.metadata:q} --manifest {input.manifest:q} --root={params.images:q}"
        " --pixels {input.pixels:q} {params.rewrites} --output-model {output:q}"


rule calibrate:
    input:
        model="results/{backbone}/prepared/{graph}.onnx",
        metadata=rules.export_fp32.output.metadata,
        manifest=rules.dataset.output.manifest,
        pixels=lambda wildcards: SWEEP.pixels(wildcards.backbone),
    output:
        "results/{backbone}/calibration/{graph}-{calibration}.json",
    log:
        "results/logs/{backbone}/calibrate-{graph}-{calibration}.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=mem_mb,
        runtime=runtime,
    params:
        settings=lambda wildcards: settings(config["calibration"][wildcards.calibration]),
        # The default recipe of ONNX Runtime is calibrated as others calibrate it.
        narrow=lambda wildcards: "--narrow-ranges" if wildcards.graph == "rewritten" else "",
        code=code("calibrate"),
        scripts=SCRIPTS,
        images=IMAGES,
    shell:
        "python3 {params.scripts:q}/calibrate.py --parent $PPID --log {log:q}"
        " --settings {params.settings:q} --model {input.model:q} --metadata {input.metadata:q}"
        " --manifest {input.manifest:q} --root={params.images:q}"
        " --pixels {input.pixels:q} {params.narrow} --output-ranges {output:q}"


rule quantize_int8:
    input:
        unpack(lambda wildcards: SWEEP.quantize_inputs(wildcards.backbone, wildcards.variant)),
        metadata=rules.export_fp32.output.metadata,
        manifest=rules.dataset.output.manifest,
        pixels=lambda wildcards: SWEEP.pixels(wildcards.backbone),
    output:
        model="results/{backbone}/{variant}.onnx",
        metadata="results/{backbone}/{variant}.json",
    log:
        "results/logs/{backbone}/quantize_int8-{variant}.log",
    wildcard_constraints:
        variant=alternatives(SWEEP.variants_without_base()),
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=mem_mb,
        runtime=runtime,
    params:
        settings=lambda wildcards: settings(SWEEP.quantize_settings(wildcards.variant)),
        calibrations=lambda wildcards, input: option("--calibrations", input.get("calibrations")),
        predictions=lambda wildcards, input: option(
            "--fp32-predictions", input.get("fp32_predictions")
        ),
        instruction_set=lambda wildcards, input: option(
            "--instruction-set", input.get("instruction_set")
        ),
        code=code("quantize_int8"),
        scripts=SCRIPTS,
        images=IMAGES,
    shell:
        "python3 {params.scripts:q}/quantize_int8.py --parent $PPID --log {log:q}"
        " --settings {params.settings:q} --model {input.model:q} --metadata {input.metadata:q}"
        " {params.calibrations} {params.predictions} {params.instruction_set}"
        " --manifest {input.manifest:q} --root={params.images:q} --pixels {input.pixels:q}"
        " --output-model {output.model:q} --output-metadata {output.metadata:q}"


rule sensitivity:
    input:
        unpack(lambda wildcards: SWEEP.sensitivity_inputs(wildcards.backbone, wildcards.variant)),
        manifest=rules.dataset.output.manifest,
        pixels=lambda wildcards: SWEEP.pixels(wildcards.backbone),
    output:
        report(
            "results/{backbone}/sensitivity/{variant}.csv",
            caption="../report/sensitivity.rst",
            category="Sensitivity",
            labels={"backbone": "{backbone}", "variant": "{variant}"},
        ),
    log:
        "results/logs/{backbone}/sensitivity-{variant}.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=mem_mb,
        runtime=runtime,
    params:
        code=code("sensitivity"),
        scripts=SCRIPTS,
        images=IMAGES,
    shell:
        "python3 {params.scripts:q}/sensitivity.py --parent $PPID --log {log:q}"
        " --model {input.model:q} --metadata {input.metadata:q}"
        " --calibrations {input.calibrations:q}"
        " --manifest {input.manifest:q} --root={params.images:q} --pixels {input.pixels:q}"
        " --output-table {output:q}"


rule quantize_mixed:
    input:
        unpack(lambda wildcards: SWEEP.mixed_inputs(wildcards.backbone, wildcards.variant)),
        manifest=rules.dataset.output.manifest,
        pixels=lambda wildcards: SWEEP.pixels(wildcards.backbone),
    output:
        model="results/{backbone}/{variant}.onnx",
        metadata="results/{backbone}/{variant}.json",
    log:
        "results/logs/{backbone}/quantize_mixed-{variant}.log",
    wildcard_constraints:
        variant=alternatives(SWEEP.quantized_by("mixed")),
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=mem_mb,
        runtime=runtime,
    params:
        settings=lambda wildcards: settings(SWEEP.mixed_settings(wildcards.variant)),
        code=code("quantize_mixed"),
        scripts=SCRIPTS,
        images=IMAGES,
    shell:
        "python3 {params.scripts:q}/quantize_mixed.py --parent $PPID --log {log:q}"
        " --settings {params.settings:q} --model {input.model:q}"
        " --base-metadata {input.base_metadata:q} --sensitivity {input.sensitivity:q}"
        " --calibrations {input.calibrations:q} --fp32-predictions {input.fp32_predictions:q}"
        " --manifest {input.manifest:q} --root={params.images:q} --pixels {input.pixels:q}"
        " --output-model {output.model:q} --output-metadata {output.metadata:q}"


rule quantize_qat:
    input:
        unpack(lambda wildcards: SWEEP.qat_inputs(wildcards.backbone, wildcards.variant)),
        manifest=rules.dataset.output.manifest,
        pixels=lambda wildcards: SWEEP.pixels(wildcards.backbone),
    output:
        model="results/{backbone}/{variant}.onnx",
        metadata="results/{backbone}/{variant}.json",
    log:
        "results/logs/{backbone}/quantize_qat-{variant}.log",
    wildcard_constraints:
        variant=alternatives(SWEEP.quantized_by("qat")),
    conda:
        "../../envs/environment.yaml"
    threads: lambda wildcards: SWEEP.training_threads(wildcards.backbone, run_cores())
    resources:
        gpu=lambda wildcards: SWEEP.gpus(wildcards.backbone),
        mem_mb=mem_mb,
        runtime=runtime,
    params:
        settings=lambda wildcards: settings(
            SWEEP.qat_settings(wildcards.backbone, wildcards.variant)
        ),
        code=code("quantize_qat"),
        scripts=SCRIPTS,
        images=IMAGES,
    shell:
        "python3 {params.scripts:q}/quantize_qat.py --parent $PPID --log {log:q}"
        " --settings {params.settings:q} --model {input.model:q}"
        " --base-metadata {input.base_metadata:q} --fp32-predictions {input.fp32_predictions:q}"
        " --manifest {input.manifest:q} --root={params.images:q}"
        " --pixels {input.pixels:q} --threads {threads} --code {params.code}"
        " --output-model {output.model:q} --output-metadata {output.metadata:q}"


rule quantize_swapped:
    input:
        unpack(lambda wildcards: SWEEP.swapped_inputs(wildcards.backbone, wildcards.variant)),
        manifest=rules.dataset.output.manifest,
        pixels=lambda wildcards: SWEEP.pixels(wildcards.backbone),
    output:
        model="results/{backbone}/{variant}.onnx",
        metadata="results/{backbone}/{variant}.json",
    log:
        "results/logs/{backbone}/quantize_swapped-{variant}.log",
    wildcard_constraints:
        variant=alternatives(SWEEP.quantized_by("activation_swap")),
    conda:
        "../../envs/environment.yaml"
    threads: lambda wildcards: SWEEP.training_threads(wildcards.backbone, run_cores())
    resources:
        gpu=lambda wildcards: SWEEP.gpus(wildcards.backbone),
        mem_mb=mem_mb,
        runtime=runtime,
    params:
        settings=lambda wildcards: settings(
            SWEEP.swapped_settings(wildcards.backbone, wildcards.variant)
        ),
        code=code("quantize_swapped"),
        scripts=SCRIPTS,
        images=IMAGES,
    shell:
        "python3 {params.scripts:q}/quantize_swapped.py --parent $PPID --log {log:q}"
        " --settings {params.settings:q} --checkpoint {input.checkpoint:q}"
        " --base-metadata {input.base_metadata:q} --fp32-predictions {input.fp32_predictions:q}"
        " --manifest {input.manifest:q} --root={params.images:q} --pixels {input.pixels:q}"
        " --threads {threads} --code {params.code}"
        " --output-model {output.model:q} --output-metadata {output.metadata:q}"
