"""Quantize a prepared model by one variant's recipe."""

from pathlib import Path

from beansweep import files, quantization, runtime, stage


def main(args) -> None:
    with files.replacing(args.output) as temporary:
        quantization.quantize(args.model, args.calibration, args.settings, temporary)
    origin = files.read_json(args.origin)
    runtime.write_card(args.card, args.output, labels=origin["labels"], preprocessing=origin["preprocessing"],
                       session={}, recipe=args.settings)


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--calibration", type=Path, required=True)
    parser.add_argument("--origin", type=Path, required=True, help="card of the float model")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--card", type=Path, required=True)
    stage.run(parser, main)
