"""Export a trained backbone to ONNX, and check it against torch on real images."""

from pathlib import Path

import torch
from beansweep.common import stage
from beansweep.data import manifest, pixels
from beansweep.models import export


def main(args) -> None:
    torch.set_num_threads(args.threads)
    rows = manifest.read(args.manifest, manifest.IMAGES)
    images = pixels.read(args.root, args.manifest, args.pixels)
    export.export_checkpoint(args.checkpoint, rows, images, args.output_model, args.output_metadata)


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True, help="folder of images")
    parser.add_argument("--pixels", type=Path, required=True, help="record of decoded images")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output-model", type=Path, required=True)
    parser.add_argument("--output-metadata", type=Path, required=True)
    stage.run(parser, main)
