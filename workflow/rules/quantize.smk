"""From an FP32 model to its INT8 variants."""


rule prepare:
    input:
        model=rules.export_fp32.output.model,
    output:
        "results/{backbone}/prepared.onnx",
    log:
        "results/logs/{backbone}/prepare.log",
    params:
        code=code("prepare"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "stage prepare --log {log:q} --model {input.model:q} --output {output:q}"


rule calibrate:
    input:
        model=rules.prepare.output[0],
        card=rules.export_fp32.output.card,
        manifest=rules.dataset.output[0],
    output:
        "results/{backbone}/calibration/{calibration}.json",
    log:
        "results/logs/{backbone}/calibrate-{calibration}.log",
    params:
        settings=lambda wildcards: settings(config["calibration"][wildcards.calibration]),
        code=code("calibrate"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "stage calibrate --settings {params.settings:q} --log {log:q}"
        " --model {input.model:q} --card {input.card:q} --manifest {input.manifest:q} --root \"$ROOT\""
        " --output {output:q}"


rule quantize_int8:
    input:
        model=rules.prepare.output[0],
        origin=rules.export_fp32.output.card,
        calibration=calibration_of,
    output:
        model="results/{backbone}/{variant}.onnx",
        card="results/{backbone}/{variant}.json",
    log:
        "results/logs/{backbone}/quantize_int8-{variant}.log",
    wildcard_constraints:
        variant="|".join(INT8_VARIANTS),
    params:
        settings=lambda wildcards: settings(config["variants"][wildcards.variant]),
        code=code("quantize_int8"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "stage quantize_int8 --settings {params.settings:q} --log {log:q}"
        " --model {input.model:q} --calibration {input.calibration:q} --origin {input.origin:q}"
        " --output {output.model:q} --card {output.card:q}"
