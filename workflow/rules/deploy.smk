"""From a candidate to a folder that runs without this project."""


rule deploy:
    input:
        table=rules.report.output.table,
        model="results/{backbone}/{variant}.onnx",
        metadata="results/{backbone}/{variant}.json",
        predictions="results/{backbone}/predictions/{variant}.csv",
        latency="results/{backbone}/latency.json",
        manifest=rules.dataset.output.manifest,
    output:
        directory("results/{backbone}/deploy/{variant}"),
    log:
        "results/logs/{backbone}/deploy-{variant}.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=mem_mb,
        runtime=runtime,
    params:
        settings=settings(SWEEP.deploy_settings()),
        code=code("deploy"),
        scripts=SCRIPTS,
        images=IMAGES,
    shell:
        "python3 {params.scripts:q}/deploy.py --parent $PPID --log {log:q}"
        " --settings {params.settings:q} --table {input.table:q}"
        " --candidate {wildcards.backbone:q} {wildcards.variant:q}"
        " --results results --manifest {input.manifest:q} --root={params.images:q}"
        " --output-folder {output:q}"


# Which candidate is picked is known when the table is there; its files are there, too.
rule deploy_pick:
    input:
        table=rules.report.output.table,
        models=SWEEP.all_models(),
        manifest=rules.dataset.output.manifest,
    output:
        directory("results/deploy"),
    log:
        "results/logs/deploy.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=mem_mb,
        runtime=runtime,
    params:
        settings=settings(SWEEP.deploy_settings()),
        code=code("deploy"),
        scripts=SCRIPTS,
        images=IMAGES,
    shell:
        "python3 {params.scripts:q}/deploy.py --parent $PPID --log {log:q}"
        " --settings {params.settings:q} --table {input.table:q}"
        " --results results --manifest {input.manifest:q} --root={params.images:q}"
        " --output-folder {output:q}"
