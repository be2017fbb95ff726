"""Prepare a float ONNX model for quantization: shapes inferred, constants folded, rewritten where wanted."""

from pathlib import Path

from beansweep.common import files, stage
from beansweep.data import images, manifest, preprocess
from beansweep.models import model_metadata
from beansweep.quantization import quantization

# Training images that show how much of its range each channel uses.
IMAGES = 32


def main(args) -> None:
    model, metadata = model_metadata.read(args.metadata)
    inputs = None
    if args.rewrite:
        preprocessing = metadata["preprocessing"]
        paths = manifest.paths(manifest.read(args.manifest), "train", IMAGES, seed=0)
        inputs = preprocess.normalise(
            images.load(args.root, paths, preprocessing["image_size"]), preprocessing
        )
    with files.replacing(args.output) as temporary:
        quantization.prepare(model, temporary, inputs)


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--metadata", type=Path, required=True, help="of the float model")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--rewrite", action="store_true", help="for integer kernels")
    parser.add_argument("--output", type=Path, required=True)
    stage.run(parser, main)
