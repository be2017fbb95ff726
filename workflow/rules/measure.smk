"""What each model is worth: its predictions, and its latency next to that of the others."""


rule evaluate:
    input:
        model="results/{backbone}/{variant}.onnx",
        metadata="results/{backbone}/{variant}.json",
        manifest=rules.dataset.output.manifest,
        pixels=lambda wildcards: SWEEP.pixels(wildcards.backbone),
    output:
        "results/{backbone}/predictions/{variant}.csv",
    log:
        "results/logs/{backbone}/evaluate-{variant}.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=mem_mb,
        runtime=runtime,
    params:
        code=code("evaluate"),
        scripts=SCRIPTS,
        images=IMAGES,
    shell:
        "python3 {params.scripts:q}/evaluate.py --parent $PPID --log {log:q}"
        " --metadata {input.metadata:q} --manifest {input.manifest:q} --root={params.images:q}"
        " --pixels {input.pixels:q} --output-predictions {output:q}"


rule evaluate_float_kernels:
    input:
        model="results/{backbone}/{variant}.onnx",
        metadata="results/{backbone}/{variant}.json",
        manifest=rules.dataset.output.manifest,
        # Some models compute the same in float kernels.
        predictions=rules.evaluate.output,
        pixels=lambda wildcards: SWEEP.pixels(wildcards.backbone),
    output:
        "results/{backbone}/float_kernels/{variant}.csv",
    log:
        "results/logs/{backbone}/evaluate_float_kernels-{variant}.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=mem_mb,
        runtime=runtime,
    params:
        code=code("evaluate"),
        scripts=SCRIPTS,
        images=IMAGES,
    shell:
        "python3 {params.scripts:q}/evaluate.py --parent $PPID --log {log:q}"
        " --float-kernels {input.predictions:q}"
        " --metadata {input.metadata:q} --manifest {input.manifest:q} --root={params.images:q}"
        " --pixels {input.pixels:q} --output-predictions {output:q}"


# As a processor predicts that is not here. Each candidate of each device is a job of its own.
rule evaluate_emulated:
    input:
        unpack(lambda wildcards: SWEEP.emulation_inputs(*wildcards)),
        manifest=rules.dataset.output.manifest,
    output:
        "results/{backbone}/emulated/{device}/{variant}.csv",
    log:
        "results/logs/{backbone}/evaluate_emulated-{device}-{variant}.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=mem_mb,
        runtime=runtime,
    params:
        settings=lambda wildcards: settings(SWEEP.emulation_settings(wildcards.device)),
        base=lambda wildcards, input: (
            option("--base", [input.base_metadata, input.base_predictions])
            if input.get("base_metadata")
            else ""
        ),
        code=code("evaluate_emulated"),
        scripts=SCRIPTS,
        images=IMAGES,
        emulator=EMULATOR,
    shell:
        "python3 {params.scripts:q}/evaluate_emulated.py --parent $PPID --log {log:q}"
        " --settings {params.settings:q} --emulator {params.emulator:q} {params.base}"
        " --metadata {input.metadata:q} --manifest {input.manifest:q} --root={params.images:q}"
        " --pixels {input.pixels:q} --output-predictions {output:q}"


# INT8 variants are made for the machine that times them. On a cluster that is another one than that
# which reads the Snakefile, so a job that runs where the bench runs finds it out.
rule instruction_set:
    output:
        sweep.INSTRUCTION_SET,
    log:
        "results/logs/instruction_set.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=mem_mb,
        runtime=runtime,
    params:
        code=code("instruction_set"),
        scripts=SCRIPTS,
    shell:
        "python3 {params.scripts:q}/instruction_set.py --parent $PPID --log {log:q}"
        " --output-instruction-set {output:q}"


rule bench:
    input:
        models=lambda wildcards: SWEEP.files_of_variants(wildcards.backbone, "onnx"),
        metadata=lambda wildcards: SWEEP.files_of_variants(wildcards.backbone, "json"),
        manifest=rules.dataset.output.manifest,
    output:
        "results/{backbone}/latency.json",
    log:
        "results/logs/{backbone}/bench.log",
    conda:
        "../../envs/environment.yaml"
    threads: bench_threads
    resources:
        mem_mb=mem_mb,
        runtime=runtime,
    params:
        settings=settings(SWEEP.bench_settings()),
        code=code("bench"),
        scripts=SCRIPTS,
        images=IMAGES,
    shell:
        "python3 {params.scripts:q}/bench.py --parent $PPID --log {log:q}"
        " --settings {params.settings:q} --metadata {input.metadata:q}"
        " --manifest {input.manifest:q} --root={params.images:q} --output-latency {output:q}"


rule bench_finalists:
    input:
        unpack(lambda wildcards: SWEEP.finalists_inputs(missing={})),
    output:
        "results/finalists.json",
    log:
        "results/logs/bench_finalists.log",
    conda:
        "../../envs/environment.yaml"
    threads: bench_threads
    resources:
        mem_mb=mem_mb,
        runtime=runtime,
    params:
        settings=settings(SWEEP.finalists_settings(missing={})),
        code=code("bench_finalists"),
        scripts=SCRIPTS,
        images=IMAGES,
    shell:
        "python3 {params.scripts:q}/bench_finalists.py --parent $PPID --log {log:q}"
        " --settings {params.settings:q} --results results --manifest {input.manifest:q}"
        " --root={params.images:q} --output-finalists {output:q}"


# The same of the backbones that are complete, for their report.
rule bench_finalists_partial:
    input:
        unpack(lambda wildcards: SWEEP.finalists_inputs(incomplete_runs())),
    output:
        "results/partial/finalists.json",
    log:
        "results/logs/bench_finalists_partial.log",
    conda:
        "../../envs/environment.yaml"
    threads: bench_threads
    resources:
        mem_mb=mem_mb,
        runtime=runtime,
    params:
        settings=lambda wildcards: settings(SWEEP.finalists_settings(incomplete_runs())),
        code=code("bench_finalists"),
        scripts=SCRIPTS,
        images=IMAGES,
    shell:
        "python3 {params.scripts:q}/bench_finalists.py --parent $PPID --log {log:q}"
        " --settings {params.settings:q} --results results --manifest {input.manifest:q}"
        " --root={params.images:q} --output-finalists {output:q}"
