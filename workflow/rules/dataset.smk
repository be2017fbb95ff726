"""From folders of images, the user's or rendered ones, to one manifest."""

GENERATED = "results/dataset/generated"
ROOT = config["dataset"]["root"] or GENERATED


def dataset_settings():
    """What the manifest depends on; for a folder of the user's own, every byte in it."""
    chosen = {key: config["dataset"][key] for key in ("fractions", "seed")}
    if ROOT == GENERATED:
        return chosen
    classes = sorted(checked(beansweep_dataset.scan, ROOT)["class"].unique())
    checked(check_classes, config["dataset"]["good_classes"], classes)
    return {**chosen, "content": checked(beansweep_dataset.fingerprint, ROOT, CACHE / "fingerprint.json")}


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
        "{PYTHON:q} {SCRIPTS:q}/generate.py --settings {params.settings:q} --log {log:q} --output {output:q}"


rule dataset:
    input:
        GENERATED if ROOT == GENERATED else [],
    output:
        "results/dataset/manifest.csv",
    log:
        "results/logs/dataset.log",
    params:
        settings=settings(dataset_settings()),
        code=code("dataset"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "{PYTHON:q} {SCRIPTS:q}/dataset.py --settings {params.settings:q} --log {log:q}"
        " --root {ROOT:q} --manifest {output:q}"
