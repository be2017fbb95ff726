"""Rank the layers of a backbone by what quantizing each alone does to the outputs."""

from pathlib import Path

from beansweep.common import files, stage
from beansweep.data import images, preprocess
from beansweep.evaluation import agreement
from beansweep.models import model_metadata, onnx_session
from beansweep.quantization import calibration, onnx_graph, sensitivity

IMAGES = 24


def main(args) -> None:
    model, metadata = model_metadata.read(args.metadata)
    preprocessing = metadata["preprocessing"]
    calibrations = calibration.read(args.calibrations, args.model)
    chosen = calibrations[metadata["recipe"]["calibration"]]
    pixels = images.load(args.root, chosen.images[:IMAGES], preprocessing)
    inputs = preprocess.normalise(pixels, preprocessing)
    expected = preprocess.softmax(onnx_session.logits(onnx_session.create(args.model), inputs))
    reference = agreement.Reference(pixels, preprocessing, expected)
    description = f"sensitivity: {args.metadata.parent.name} {args.metadata.stem}"
    prepared, quantized = onnx_graph.load(args.model), onnx_graph.load(model)
    bounds = chosen.bounds()
    table = sensitivity.table(prepared, quantized, bounds, reference, inputs, description)
    with files.replacing(args.output_table) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="prepared model")
    parser.add_argument("--metadata", type=Path, required=True, help="of the quantized model")
    parser.add_argument("--calibrations", type=Path, nargs="+", required=True, help="ranges")
    parser.add_argument("--root", type=Path, required=True, help="folder of images")
    parser.add_argument("--output-table", type=Path, required=True)
    stage.run(parser, main)
