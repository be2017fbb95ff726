"""From all candidates to the front and the pick."""


rule report:
    input:
        unpack(lambda wildcards: SWEEP.report_inputs(missing={})),
        finalists=rules.bench_finalists.output,
    output:
        table=report(
            "results/pareto.csv",
            caption="../report/table.rst",
            category="Report",
            labels={"what": "all candidates"},
        ),
        markdown=report(
            "results/pareto.md",
            caption="../report/pareto.rst",
            category="Report",
            labels={"what": "the report"},
        ),
        # Not in the report of Snakemake: a browser shows no page of this size within another.
        page="results/report.html",
        figures=report(
            directory("results/figures"),
            patterns=["{figure}.png"],
            caption="../report/figures.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
    log:
        "results/logs/report.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=mem_mb,
        runtime=runtime,
    params:
        settings=settings(SWEEP.report_settings(missing={})),
        code=code("report"),
        scripts=SCRIPTS,
        images=IMAGES,
    shell:
        "python3 {params.scripts:q}/report.py --parent $PPID --log {log:q}"
        " --settings {params.settings:q} --results results --manifest {input.manifest:q}"
        " --near-duplicates {input.near_duplicates:q} --finalists {input.finalists:q}"
        " --root={params.images:q}"
        " --output-table {output.table:q} --output-markdown {output.markdown:q}"
        " --output-page {output.page:q} --output-figures {output.figures:q}"


# The same of the backbones that are complete, where a sweep stopped or went on without others.
rule report_partial:
    input:
        unpack(lambda wildcards: SWEEP.report_inputs(incomplete_runs())),
        finalists=rules.bench_finalists_partial.output,
    output:
        table="results/partial/pareto.csv",
        markdown=unfinished.PARTIAL_REPORT,
        page="results/partial/report.html",
        figures=directory("results/partial/figures"),
    log:
        "results/logs/report_partial.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=mem_mb,
        runtime=runtime,
    params:
        settings=lambda wildcards: settings(SWEEP.report_settings(incomplete_runs())),
        code=code("report"),
        scripts=SCRIPTS,
        images=IMAGES,
    shell:
        "python3 {params.scripts:q}/report.py --parent $PPID --log {log:q}"
        " --settings {params.settings:q} --results results --manifest {input.manifest:q}"
        " --near-duplicates {input.near_duplicates:q} --finalists {input.finalists:q}"
        " --root={params.images:q}"
        " --output-table {output.table:q} --output-markdown {output.markdown:q}"
        " --output-page {output.page:q} --output-figures {output.figures:q}"
