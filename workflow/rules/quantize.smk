"""From an FP32 model to its INT8 variants."""


rule prepare:
    input:
        model=rules.export_fp32.output.model,
        metadata=rules.export_fp32.output.metadata,
        manifest=rules.dataset.output.manifest,
    output:
        "results/{backbone}/prepared/{graph}.onnx",
    log:
        "results/logs/{backbone}/prepare-{graph}.log",
    params:
        rewrite=lambda wildcards: "--rewrite" if wildcards.graph == "rewritten" else "",
        code=code("prepare"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "stage prepare --log {log:q} --metadata {input.metadata:q} --manifest {input.manifest:q}"
        " --root \"$ROOT\" {params.rewrite} --output {output:q}"


rule calibrate:
    input:
        model="results/{backbone}/prepared/{graph}.onnx",
        metadata=rules.export_fp32.output.metadata,
        manifest=rules.dataset.output.manifest,
    output:
        "results/{backbone}/calibration/{graph}-{calibration}.json",
    log:
        "results/logs/{backbone}/calibrate-{graph}-{calibration}.log",
    params:
        settings=lambda wildcards: settings(config["calibration"][wildcards.calibration]),
        # The recipe that others use is calibrated as they do it.
        narrow=lambda wildcards: "--narrow" if wildcards.graph == "rewritten" else "",
        code=code("calibrate"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "stage calibrate --settings {params.settings:q} --log {log:q}"
        " --model {input.model:q} --metadata {input.metadata:q} --manifest {input.manifest:q} --root \"$ROOT\""
        " {params.narrow} --output {output:q}"


rule quantize_int8:
    input:
        unpack(quantize_inputs),
        origin=rules.export_fp32.output.metadata,
    output:
        model="results/{backbone}/{variant}.onnx",
        metadata="results/{backbone}/{variant}.json",
    log:
        "results/logs/{backbone}/quantize_int8-{variant}.log",
    wildcard_constraints:
        variant=alternatives(name for name in INT8_VARIANTS if name not in MIXED + QAT),
    params:
        settings=lambda wildcards: settings(quantize_settings(wildcards.variant)),
        ranges=lambda wildcards, input: flag("--calibrations", input.get("calibrations")),
        reference=lambda wildcards, input: flag("--reference", input.get("reference")),
        code=code("quantize_int8"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "stage quantize_int8 --settings {params.settings:q} --log {log:q}"
        " --model {input.model:q} --origin {input.origin:q} {params.ranges} {params.reference} --root \"$ROOT\""
        " --output {output.model:q} --metadata {output.metadata:q}"


rule sensitivity:
    input:
        model=prepared_of,
        metadata="results/{backbone}/{variant}.json",
        calibrations=calibrations_of,
    output:
        report("results/{backbone}/sensitivity/{variant}.csv", caption="../report/sensitivity.rst",
               category="Sensitivity", labels={"backbone": "{backbone}", "variant": "{variant}"}),
    log:
        "results/logs/{backbone}/sensitivity-{variant}.log",
    params:
        code=code("sensitivity"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "stage sensitivity --log {log:q} --model {input.model:q} --calibrations {input.calibrations:q}"
        " --metadata {input.metadata:q} --root \"$ROOT\" --output {output:q}"


rule quantize_mixed:
    input:
        unpack(mixed_inputs),
        reference="results/{backbone}/predictions/fp32.csv",
    output:
        model="results/{backbone}/{variant}.onnx",
        metadata="results/{backbone}/{variant}.json",
    log:
        "results/logs/{backbone}/quantize_mixed-{variant}.log",
    wildcard_constraints:
        variant=alternatives(MIXED),
    params:
        settings=lambda wildcards: settings(mixed_settings(wildcards.variant)),
        code=code("quantize_mixed"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "stage quantize_mixed --settings {params.settings:q} --log {log:q}"
        " --model {input.model:q} --base-metadata {input.base_metadata:q} --sensitivity {input.sensitivity:q}"
        " --calibrations {input.calibrations:q} --reference {input.reference:q} --root \"$ROOT\""
        " --output {output.model:q} --metadata {output.metadata:q}"


rule quantize_qat:
    input:
        unpack(qat_inputs),
        reference="results/{backbone}/predictions/fp32.csv",
        manifest=rules.dataset.output.manifest,
    output:
        model="results/{backbone}/{variant}.onnx",
        metadata="results/{backbone}/{variant}.json",
    log:
        "results/logs/{backbone}/quantize_qat-{variant}.log",
    wildcard_constraints:
        variant=alternatives(QAT),
    params:
        settings=lambda wildcards: settings(qat_settings(wildcards)),
        code=code("quantize_qat"),
    threads: training_threads
    conda:
        "../../envs/environment.yaml"
    shell:
        "stage quantize_qat --settings {params.settings:q} --log {log:q} --threads {threads}"
        " --model {input.model:q} --base-metadata {input.base_metadata:q} --manifest {input.manifest:q}"
        " --reference {input.reference:q} --root \"$ROOT\" --output {output.model:q} --metadata {output.metadata:q}"
