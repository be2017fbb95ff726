"""From all candidates to the front and the pick."""


def report_settings():
    """What the report depends on beside its files."""
    chosen = {key: config[key] for key in ("backbones", "deploy")}
    return {**chosen, "variants": VARIANTS, "good_classes": config["dataset"]["good_classes"]}


rule report:
    input:
        predictions=expand("results/{backbone}/predictions/{variant}.csv", backbone=BACKBONES, variant=VARIANTS),
        latencies=expand("results/{backbone}/latency.json", backbone=BACKBONES),
        histories=expand("results/{backbone}/history.csv", backbone=BACKBONES),
        manifest=rules.dataset.output[0],
    output:
        csv="results/pareto.csv",
        markdown="results/pareto.md",
        figures=expand("results/figures/{figure}.png", figure=["front", "confusion", "history"]),
    log:
        "results/logs/report.log",
    params:
        settings=settings(report_settings()),
        code=code("report"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "{PYTHON:q} {SCRIPTS:q}/report.py --settings {params.settings:q} --log {log:q}"
        " --results results --manifest {input.manifest:q} --csv {output.csv:q} --markdown {output.markdown:q}"
