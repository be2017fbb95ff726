"""From folders of images, the user's or rendered ones, to one manifest and decoded images."""


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
    # All of the run's cores; a cluster has no such number.
    threads: lambda wildcards: run_cores() or 4
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
        " --threads {threads}"
        " --output-manifest {output.manifest:q} --output-near-duplicates {output.near_duplicates:q}"


# Decoded once for all networks of an image size. The array can be tens of gigabytes, and Snakemake
# reads every input of a job to compare its content. So the record of it is what other rules have as
# input: it holds the array's digest.
rule decode:
    input:
        manifest=rules.dataset.output.manifest,
    output:
        pixels="results/dataset/pixels@{image_size}.npy",
        record="results/dataset/pixels@{image_size}.json",
    log:
        "results/logs/decode-{image_size}.log",
    wildcard_constraints:
        image_size=r"\d+",
    priority: SWEEP.decode_priority
    conda:
        "../../envs/environment.yaml"
    # All of the run's cores; a cluster has no such number.
    threads: lambda wildcards: run_cores() or 4
    resources:
        mem_mb=mem_mb,
        runtime=runtime,
    params:
        settings=lambda wildcards: settings(SWEEP.decode_settings(wildcards.image_size)),
        code=code("decode"),
        scripts=SCRIPTS,
        images=IMAGES,
    shell:
        "python3 {params.scripts:q}/decode.py --parent $PPID --log {log:q}"
        " --settings {params.settings:q} --manifest {input.manifest:q} --root={params.images:q}"
        " --threads {threads}"
        " --output-pixels {output.pixels:q} --output-record {output.record:q}"
