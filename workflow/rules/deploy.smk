"""From a candidate to a folder that runs without this project."""


rule deploy:
    input:
        table=rules.report.output.csv,
        model="results/{backbone}/{variant}.onnx",
        metadata="results/{backbone}/{variant}.json",
        predictions="results/{backbone}/predictions/{variant}.csv",
        latency="results/{backbone}/latency.json",
        manifest=rules.dataset.output.manifest,
    output:
        directory("results/{backbone}/deploy/{variant}"),
    log:
        "results/logs/{backbone}/deploy-{variant}.log",
    params:
        settings=settings(deploy_settings()),
        code=code("deploy"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "stage deploy --settings {params.settings:q} --log {log:q} --table {input.table:q}"
        " --candidate {wildcards.backbone:q} {wildcards.variant:q} --results results --manifest {input.manifest:q}"
        " --root \"$ROOT\" --output {output:q}"


# Which candidate is picked is known when the table is there; its files are, too.
rule deploy_pick:
    input:
        table=rules.report.output.csv,
        models=expand("results/{backbone}/{variant}.onnx", backbone=BACKBONES, variant=VARIANTS),
        manifest=rules.dataset.output.manifest,
    output:
        directory("results/deploy"),
    log:
        "results/logs/deploy.log",
    params:
        settings=settings(deploy_settings()),
        code=code("deploy"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "stage deploy --settings {params.settings:q} --log {log:q} --table {input.table:q}"
        " --results results --manifest {input.manifest:q} --root \"$ROOT\" --output {output:q}"
