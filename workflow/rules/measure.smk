"""What each model is worth: its predictions, and its latency beside the others'."""


rule evaluate:
    input:
        model="results/{backbone}/{variant}.onnx",
        metadata="results/{backbone}/{variant}.json",
        manifest=rules.dataset.output.manifest,
    output:
        "results/{backbone}/predictions/{variant}.csv",
    log:
        "results/logs/{backbone}/evaluate-{variant}.log",
    params:
        code=code("evaluate"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "stage evaluate --log {log:q}"
        " --metadata {input.metadata:q} --manifest {input.manifest:q} --root \"$ROOT\" --output {output:q}"


rule evaluate_float_kernels:
    input:
        model="results/{backbone}/{variant}.onnx",
        metadata="results/{backbone}/{variant}.json",
        manifest=rules.dataset.output.manifest,
    output:
        "results/{backbone}/float_kernels/{variant}.csv",
    log:
        "results/logs/{backbone}/evaluate_float_kernels-{variant}.log",
    params:
        code=code("evaluate"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "stage evaluate --log {log:q} --float-kernels"
        " --metadata {input.metadata:q} --manifest {input.manifest:q} --root \"$ROOT\" --output {output:q}"


rule bench:
    input:
        models=expand("results/{{backbone}}/{variant}.onnx", variant=VARIANTS),
        metadata_files=expand("results/{{backbone}}/{variant}.json", variant=VARIANTS),
        manifest=rules.dataset.output.manifest,
    output:
        "results/{backbone}/latency.json",
    log:
        "results/logs/{backbone}/bench.log",
    params:
        settings=settings(bench_settings()),
        code=code("bench"),
    # All of the run's cores, so that no other job of it runs meanwhile.
    threads: whole_machine
    conda:
        "../../envs/environment.yaml"
    shell:
        "stage bench --settings {params.settings:q} --log {log:q}"
        " --metadata_files {input.metadata_files:q} --manifest {input.manifest:q} --root \"$ROOT\" --output {output:q}"
