"""Rank the layers of a backbone by what quantizing each alone does to the outputs."""

from pathlib import Path

from beansweep import fidelity, files, images, preprocess, quantization, runtime, search, sensitivity, stage

IMAGES = 24


def main(args) -> None:
    card = files.read_json(args.card)
    recipe, preprocessing = card["recipe"], card["preprocessing"]
    calibration = next(path for path in args.calibrations if search.calibration_of(path) == recipe["calibration"])
    pixels = images.load(args.root, files.read_json(calibration)["images"][:IMAGES], preprocessing["image_size"])
    inputs = preprocess.normalise(pixels, preprocessing)
    expected = preprocess.softmax(runtime.logits(runtime.session(args.model), inputs))
    result = sensitivity.table(
        args.model, args.card.with_name(card["model"]), quantization.bounds(calibration),
        fidelity.Reference(pixels, preprocessing, expected), inputs,
        lambda layers: stage.progress(layers, f"sensitivity: {args.card.parent.name} {args.card.stem}"))
    with files.replacing(args.output) as temporary:
        result.to_csv(temporary, index=False, float_format="%.6g")


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="prepared model")
    parser.add_argument("--calibrations", type=Path, nargs="+", required=True)
    parser.add_argument("--card", type=Path, required=True, help="of the quantized model: which calibration it chose")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    stage.run(parser, main)
