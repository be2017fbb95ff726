"""From folders of images, the user's or rendered ones, to one manifest."""

rule generate:
    output:
        images=directory(GENERATED),
        digests="results/dataset/generated.sha256",
    log:
        "results/logs/generate.log",
    params:
        settings=settings(config["generate"]),
        code=code("generate"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "stage generate --settings {params.settings:q} --log {log:q}"
        " --output {output.images:q} --digests {output.digests:q}"


rule dataset:
    input:
        # A folder is compared by its time, which a copy does not keep; the digests are compared by content.
        [ancient(rules.generate.output.images), rules.generate.output.digests] if ROOT == GENERATED else [],
    output:
        manifest="results/dataset/manifest.csv",
        near_duplicates="results/dataset/near_duplicates.csv",
    log:
        "results/logs/dataset.log",
    params:
        settings=settings(dataset_settings()),
        code=code("dataset"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "stage dataset --settings {params.settings:q} --log {log:q}"
        " --root \"$ROOT\" --manifest {output.manifest:q} --near-duplicates {output.near_duplicates:q}"
