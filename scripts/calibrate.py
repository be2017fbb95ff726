"""Find a prepared model's activation ranges on shuffled training images."""

from pathlib import Path

from beansweep.common import files, progress, stage
from beansweep.data import manifest, pixels
from beansweep.quantization import calibration, onnx_graph


def main(args) -> None:
    settings, preprocessing = args.settings, files.read_json(args.metadata)["preprocessing"]
    rows = manifest.read(args.manifest, manifest.IMAGES)
    paths = manifest.paths(rows, "train", settings["images"], settings["seed"])
    images = pixels.read(args.root, args.manifest, args.pixels)
    inputs = pixels.network_inputs(images, paths, preprocessing)
    ranges = calibration.calibrate(
        onnx_graph.load(args.model),
        settings["method"],
        progress.track(inputs[:, None], f"calibrate: {args.model.parent.name}"),
        narrow_ranges=args.narrow_ranges,
    )
    calibration.write(args.output_ranges, args.model, settings["method"], paths, ranges)


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="prepared model")
    parser.add_argument(
        "--metadata", type=Path, required=True, help="of the float model: its preprocessing"
    )
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--pixels", type=Path, required=True, help="record of decoded images")
    parser.add_argument(
        "--narrow-ranges", action="store_true", help="leave out of a range what no reader needs"
    )
    parser.add_argument("--output-ranges", type=Path, required=True)
    stage.run(parser, main)
