"""Rank the layers of a backbone by what quantizing each alone does to the outputs."""

from pathlib import Path

from beansweep.common import files, progress, stage
from beansweep.data import images, preprocess
from beansweep.evaluation import agreement
from beansweep.models import onnx_session
from beansweep.quantization import quantization, search, sensitivity

IMAGES = 24


def main(args) -> None:
    metadata = files.read_json(args.metadata)
    recipe, preprocessing = metadata["recipe"], metadata["preprocessing"]
    calibration = next(
        path for path in args.calibrations if search.calibration_of(path) == recipe["calibration"]
    )
    pixels = images.load(
        args.root, files.read_json(calibration)["images"][:IMAGES], preprocessing["image_size"]
    )
    inputs = preprocess.normalise(pixels, preprocessing)
    expected = preprocess.softmax(onnx_session.logits(onnx_session.create(args.model), inputs))
    result = sensitivity.table(
        args.model,
        args.metadata.with_name(metadata["model"]),
        quantization.bounds(calibration),
        agreement.Reference(pixels, preprocessing, expected),
        inputs,
        lambda layers: progress.track(
            layers, f"sensitivity: {args.metadata.parent.name} {args.metadata.stem}"
        ),
    )
    with files.replacing(args.output) as temporary:
        result.to_csv(temporary, index=False, float_format="%.6g")


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="prepared model")
    parser.add_argument("--calibrations", type=Path, nargs="+", required=True)
    parser.add_argument(
        "--metadata",
        type=Path,
        required=True,
        help="of the quantized model: which calibration it chose",
    )
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    stage.run(parser, main)
