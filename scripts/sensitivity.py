"""Rank the layers of a backbone by what quantizing each alone does to the outputs."""

from functools import partial
from pathlib import Path

from beansweep.common import files, progress, stage
from beansweep.data import images, preprocess
from beansweep.evaluation import agreement
from beansweep.models import model_metadata, onnx_session
from beansweep.quantization import calibration, onnx_graph, sensitivity

IMAGES = 24


def main(args) -> None:
    quantized, metadata = model_metadata.read(args.metadata)
    preprocessing = metadata["preprocessing"]
    calibrations = calibration.read(args.calibrations, args.model)
    chosen = calibrations[metadata["recipe"]["calibration"]]
    pixels = images.load(args.root, chosen.images[:IMAGES], preprocessing["image_size"])
    inputs = preprocess.normalise(pixels, preprocessing)
    expected = preprocess.softmax(onnx_session.logits(onnx_session.create(args.model), inputs))
    variant = f"{args.metadata.parent.name} {args.metadata.stem}"
    result = sensitivity.table(
        onnx_graph.load(args.model),
        onnx_graph.load(quantized),
        chosen.bounds(),
        agreement.Reference(pixels, preprocessing, expected),
        inputs,
        partial(progress.track, description=f"sensitivity: {variant}"),
    )
    with files.replacing(args.output_table) as temporary:
        result.to_csv(temporary, index=False, float_format="%.6g")


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="prepared model")
    parser.add_argument("--metadata", type=Path, required=True, help="of the quantized model")
    parser.add_argument("--calibrations", type=Path, nargs="+", required=True, help="ranges")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--output-table", type=Path, required=True)
    stage.run(parser, main)
