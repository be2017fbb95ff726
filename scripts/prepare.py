"""Prepare a float ONNX model for quantization: shapes inferred, graph folded."""

from pathlib import Path

from beansweep import files, quantization, stage


def main(args) -> None:
    with files.replacing(args.output) as temporary:
        quantization.prepare(args.model, temporary)


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    stage.run(parser, main)
