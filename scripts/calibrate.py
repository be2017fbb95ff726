"""Find a prepared model's activation ranges on shuffled training images."""

from pathlib import Path

from beansweep.common import files, progress, stage
from beansweep.data import images, manifest, preprocess
from beansweep.quantization import quantization


def main(args) -> None:
    settings = args.settings
    preprocessing = files.read_json(args.metadata)["preprocessing"]
    paths = manifest.paths(
        manifest.read(args.manifest), "train", settings["images"], settings["seed"]
    )
    inputs = preprocess.normalise(
        images.load(args.root, paths, preprocessing["image_size"], "calibration images"),
        preprocessing,
    )
    singles = progress.track(
        [image[None] for image in inputs], f"calibrate: {args.model.parent.name}"
    )
    quantization.calibrate(
        args.model, settings["method"], singles, paths, args.output, narrow=args.narrow
    )


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument(
        "--metadata", type=Path, required=True, help="of the float model: its preprocessing"
    )
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument(
        "--narrow", action="store_true", help="leave out of a range what no reader needs"
    )
    parser.add_argument("--output", type=Path, required=True)
    stage.run(parser, main)
