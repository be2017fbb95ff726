"""Render the built-in bean images as train/val/test/<class>/ folders."""

from pathlib import Path

from beansweep.common import files, stage
from beansweep.data import rendered_folder


def main(args) -> None:
    rendered_folder.render(args.output_images, args.settings)
    digests = rendered_folder.digest_lines(args.output_images, args.output_digests.parent)
    files.write_text(args.output_digests, digests)


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--output-images", type=Path, required=True)
    parser.add_argument(
        "--output-digests", type=Path, required=True, help="of the images, for sha256sum --check"
    )
    stage.run(parser, main)
