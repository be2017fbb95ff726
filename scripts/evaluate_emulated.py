"""Predict validation and test images with one model, as a processor does that QEMU emulates."""

from pathlib import Path

from beansweep.common import emulator, files, progress, stage
from beansweep.data import manifest, pixels
from beansweep.data.splitting import PICK
from beansweep.evaluation import predictions
from beansweep.models import logits_process, model_metadata


def main(args) -> None:
    rows, processor = manifest.read(args.manifest, manifest.IMAGES), args.settings["emulate"]
    rows = rows[rows["split"].isin(["val", PICK, "test"])]
    rows = manifest.stratified(rows, args.settings["images"])
    if model_metadata.unavailable(args.metadata):
        result = predictions.none(manifest.labels(rows))
    elif args.base and model_metadata.same_model(args.metadata, args.base[0]):
        result = predictions.read(args.base[1])
    else:
        _, metadata = model_metadata.read(args.metadata)
        title = f"evaluate_emulated: {args.metadata.parent.name} {args.metadata.stem}, {processor}"
        size, count = metadata["preprocessing"]["image_size"], len(rows)
        progress.say(
            f"{title}: {count} images, {emulator.duration(count, size, processor)} of one core"
        )
        images = pixels.read(args.root, args.manifest, args.pixels)
        python = emulator.python(args.emulator, processor)
        with logits_process.opened(python, args.metadata, len(metadata["labels"])) as logits:
            result = predictions.predict(logits, metadata, images, rows, title)
    with files.replacing(args.output_predictions) as temporary:
        result.to_csv(temporary, index=False, float_format="%.9g")


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    for name in ("metadata", "manifest", "root", "pixels", "emulator", "output-predictions"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    words = "metadata of a model that may be the same, and its predictions"
    parser.add_argument("--base", type=Path, nargs=2, help=words)
    stage.run(parser, main)
