"""Put a candidate, or the pick, into a folder with all that is needed to run it elsewhere."""

import os
import tempfile
from pathlib import Path

import pandas as pd
from beansweep.common import errors, files, progress, stage
from beansweep.deploy import bundle
from beansweep.evaluation import predictions


def main(args) -> None:
    table = pd.read_csv(args.table)
    if args.candidate:
        backbone, variant = args.candidate
        row = table[(table["backbone"] == backbone) & (table["variant"] == variant)].iloc[0]
    else:
        picked = table[table["pick"]]
        if picked.empty:
            raise errors.UserError(
                "no candidate may be deployed under the limits of deploy (see results/pareto.md): "
                "loosen one, or name a candidate: results/{backbone}/deploy/{variant}"
            )
        row = picked.iloc[0]
    folder = args.results / row["backbone"]
    with tempfile.TemporaryDirectory(dir=args.output.parent, prefix=".deploy") as temporary:
        written = Path(temporary) / "bundle"
        written.mkdir()
        bundle.write(
            written,
            folder / f"{row['variant']}.json",
            predictions.read(folder / f"predictions/{row['variant']}.csv"),
            row,
            args.manifest,
            args.root,
            files.read_json(folder / "latency.json"),
            args.settings,
        )
        os.replace(written, args.output)
    progress.say(
        f"deploy: {args.output}: {row['backbone']} {row['variant']}; try python {args.output}/predict.py --check"
    )


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--table", type=Path, required=True, help="pareto.csv")
    parser.add_argument(
        "--candidate", nargs=2, metavar=("BACKBONE", "VARIANT"), help="instead of the pick"
    )
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="folder to make")
    stage.run(parser, main)
