"""Prepare a float ONNX model for quantization: shapes inferred, constants folded, rewritten where wanted."""

from pathlib import Path

from beansweep import files, images, manifest, preprocess, quantization, runtime, stage

# Training images that show how much of its range each channel uses.
IMAGES = 32


def main(args) -> None:
    model, card = runtime.described(args.card)
    inputs = None
    if args.rewrite:
        preprocessing = card["preprocessing"]
        paths = manifest.paths(manifest.read(args.manifest), "train", IMAGES, seed=0)
        inputs = preprocess.normalise(images.load(args.root, paths, preprocessing["image_size"]), preprocessing)
    with files.replacing(args.output) as temporary:
        quantization.prepare(model, temporary, inputs)


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--card", type=Path, required=True, help="of the float model")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--rewrite", action="store_true", help="for integer kernels")
    parser.add_argument("--output", type=Path, required=True)
    stage.run(parser, main)
