"""Decode every image of the manifest once, for all networks of one image size."""

from pathlib import Path

from beansweep.common import pinning, stage
from beansweep.data import pixels


def main(args) -> None:
    cores = min(args.threads, pinning.cpus())
    pixels.write(
        args.root, args.manifest, args.settings, cores, args.output_pixels, args.output_record
    )


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True, help="folder of images")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output-pixels", type=Path, required=True, help="array of all images")
    parser.add_argument("--output-record", type=Path, required=True, help="what the array is of")
    stage.run(parser, main)
