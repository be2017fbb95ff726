"""From folders of images, the user's or rendered ones, to one manifest."""


rule generate:
    output:
        images=directory(sweep.RENDERED_IMAGES),
        digests="results/dataset/generated.sha256",
    log:
        "results/logs/generate.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=mem_mb,
        runtime=runtime,
    params:
        settings=settings(config["generate"]),
        code=code("generate"),
        scripts=SCRIPTS,
    shell:
        "python3 {params.scripts:q}/generate.py --parent $PPID --log {log:q}"
        " --settings {params.settings:q}"
        " --output-images {output.images:q} --output-digests {output.digests:q}"


rule dataset:
    input:
        # Snakemake compares a folder by its time, which a copy does not keep, and the digests by
        # their content.
        [ancient(rules.generate.output.images), rules.generate.output.digests]
        if SWEEP.images_are_rendered
        else [],
    output:
        manifest=sweep.MANIFEST,
        near_duplicates=sweep.NEAR_DUPLICATES,
    log:
        "results/logs/dataset.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=mem_mb,
        runtime=runtime,
    params:
        # The run itself looks at all images, and its jobs on a cluster take what it found.
        settings=settings(checked(SWEEP.dataset_settings, CACHE, workflow.is_main_process)),
        code=code("dataset"),
        scripts=SCRIPTS,
        images=IMAGES,
    shell:
        "python3 {params.scripts:q}/dataset.py --parent $PPID --log {log:q}"
        " --settings {params.settings:q} --root={params.images:q}"
        " --output-manifest {output.manifest:q} --output-near-duplicates {output.near_duplicates:q}"
