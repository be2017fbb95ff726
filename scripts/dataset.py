"""Read every image once, and write the manifest and a table of all near-duplicates."""

from pathlib import Path

from beansweep.common import files, pinning, stage
from beansweep.data import manifest_building


def main(args) -> None:
    cores = min(args.threads, pinning.cpus())
    manifest, near_duplicates = manifest_building.build(args.root, args.settings, cores)
    with files.replacing(args.output_near_duplicates) as temporary:
        near_duplicates.to_csv(temporary, index=False, float_format="%.4f")
    with files.replacing(args.output_manifest) as temporary:
        manifest.to_csv(temporary, index=False)


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder of images")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output-manifest", type=Path, required=True)
    parser.add_argument("--output-near-duplicates", type=Path, required=True)
    stage.run(parser, main)
