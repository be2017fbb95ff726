"""Write the report with the pick: pareto.csv, pareto.md with its figures, and report.html."""

from pathlib import Path

from beansweep.analysis import candidates
from beansweep.common import files, progress, stage
from beansweep.report import figures, markdown, page, report_data, sections


def main(args) -> None:
    sweep = report_data.read(
        args.settings,
        args.results,
        args.manifest,
        args.near_duplicates,
        args.finalists,
        args.root,
    )
    text = sections.text(sweep)
    candidates.write(sweep.table, args.output_table)
    files.write_text(args.output_markdown, text)
    page.write(args.output_page, sweep, args.root)
    figures.write(sweep, args.root, args.output_figures)
    pick = (
        "no candidate may be deployed"
        if sweep.chosen is None
        else f"the pick is {markdown.name(sweep.subject)}"
    )
    progress.say(f"report: {args.output_markdown}: {pick}")


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--results", type=Path, required=True, help="folder of the sweep")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--near-duplicates", type=Path, required=True)
    parser.add_argument("--finalists", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True, help="folder of the images")
    parser.add_argument("--output-table", type=Path, required=True, help="CSV of all candidates")
    parser.add_argument("--output-markdown", type=Path, required=True)
    parser.add_argument("--output-page", type=Path, required=True, help="interactive HTML")
    parser.add_argument("--output-figures", type=Path, required=True, help="folder of figures")
    stage.run(parser, main)
