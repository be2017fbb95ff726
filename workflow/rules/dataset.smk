"""From folders of images, the user's or rendered ones, to one manifest."""

rule generate:
    output:
        directory(GENERATED),
    log:
        "results/logs/generate.log",
    params:
        settings=settings(config["generate"]),
        code=code("generate"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "stage generate --settings {params.settings:q} --log {log:q} --output {output:q}"


rule dataset:
    input:
        # What decides its content is among the settings; the times of folders are lost in copying.
        ancient(GENERATED) if ROOT == GENERATED else [],
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
