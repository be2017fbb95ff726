"""From all candidates to the front and the pick."""


rule report:
    input:
        predictions=expand("results/{backbone}/predictions/{variant}.csv", backbone=BACKBONES, variant=VARIANTS),
        float_kernels=expand("results/{backbone}/float_kernels/{variant}.csv", backbone=BACKBONES, variant=INT8_VARIANTS),
        sensitivities=expand("results/{backbone}/sensitivity/{variant}.csv", backbone=BACKBONES, variant=STATIC),
        metadata_files=expand("results/{backbone}/{variant}.json", backbone=BACKBONES, variant=VARIANTS),
        repetitions=expand("results/{run}/predictions/fp32.csv", run=RUNS),
        latencies=expand("results/{backbone}/latency.json", backbone=BACKBONES),
        histories=expand("results/{backbone}/history.csv", backbone=BACKBONES),
        manifest=rules.dataset.output.manifest,
        near_duplicates=rules.dataset.output.near_duplicates,
        devices=[path for paths in config["bench"]["device_results"].values() for path in paths],
    output:
        csv=report("results/pareto.csv", caption="../report/table.rst", category="Report",
                   labels={"what": "all candidates"}),
        markdown=report("results/pareto.md", caption="../report/pareto.rst", category="Report",
                        labels={"what": "the report"}),
        # Not a part of Snakemake's report: a browser shows nothing of so large a page within another.
        page="results/report.html",
        figures=report(directory("results/figures"), patterns=["{figure}.png"], caption="../report/figures.rst",
                       category="Figures", labels={"figure": "{figure}"}),
    log:
        "results/logs/report.log",
    params:
        settings=settings(report_settings(missing={})),
        code=code("report"),
    conda:
        "../../envs/environment.yaml"
    shell:
        "stage report --settings {params.settings:q} --log {log:q}"
        " --results results --manifest {input.manifest:q} --near-duplicates {input.near_duplicates:q} --root \"$ROOT\""
        " --csv {output.csv:q} --markdown {output.markdown:q} --page {output.page:q}"
        " --figures {output.figures:q}"
