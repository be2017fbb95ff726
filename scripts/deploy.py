"""Put a candidate, or the pick, into a folder with all that is needed to run it elsewhere."""

from pathlib import Path

import pandas as pd
from beansweep.common import progress, stage
from beansweep.deploy import bundle


def main(args) -> None:
    row = bundle.choose(pd.read_csv(args.table), args.candidate)
    output = args.output_folder
    bundle.write(output, row, args.results, args.manifest, args.root, args.settings)
    progress.say(
        f"deploy: {output}: {row['backbone']} {row['variant']}; "
        f"try python {output}/predict.py --check"
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
    parser.add_argument("--output-folder", type=Path, required=True, help="folder to make")
    stage.run(parser, main)
