"""Predict every validation and test image with one model, as it would be deployed."""

from pathlib import Path

from beansweep import files, manifest, predictions, runtime, stage


def main(args) -> None:
    rows = manifest.read(args.manifest)
    # Float kernels are for the report's diagnosis alone, which is about the test images.
    rows = rows[rows["split"].isin(["test"] if args.float_kernels else ["val", "test"])]
    session, card = runtime.load(args.card, float_kernels=args.float_kernels)
    what = f"evaluate: {args.card.parent.name} {args.card.stem}{' in float kernels' if args.float_kernels else ''}"
    result = predictions.predict(session, card, args.root, rows, lambda paths: stage.progress(paths, what))
    with files.replacing(args.output) as temporary:
        result.to_csv(temporary, index=False, float_format="%.9g")


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--card", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--float-kernels", action="store_true")
    parser.add_argument("--output", type=Path, required=True)
    stage.run(parser, main)
