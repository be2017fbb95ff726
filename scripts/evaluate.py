"""Predict every validation and test image with one model, as it would be deployed."""

from functools import partial
from pathlib import Path

from beansweep.common import files, stage
from beansweep.data import manifest, pixels
from beansweep.data.splitting import PICK
from beansweep.evaluation import predictions
from beansweep.models import model_metadata, onnx_session


def main(args) -> None:
    rows = manifest.read(args.manifest, manifest.IMAGES)
    in_float = bool(args.float_kernels)
    # Float kernels are for the report's diagnosis alone, which is about the test images.
    rows = rows[rows["split"].isin(["test"] if in_float else ["val", PICK, "test"])]
    description = f"evaluate: {args.metadata.parent.name} {args.metadata.stem}"
    if model_metadata.unavailable(args.metadata):
        result = predictions.none(manifest.labels(rows))
    elif in_float and predictions.same_in_float_kernels(args.metadata):
        result = predictions.read(args.float_kernels)
        result = result[result["split"] == "test"]
    else:
        session, metadata = onnx_session.load(args.metadata, float_kernels=in_float)
        description += " in float kernels" if in_float else ""
        images = pixels.read(args.root, args.manifest, args.pixels)
        logits = partial(onnx_session.logits, session)
        result = predictions.predict(logits, metadata, images, rows, description)
    with files.replacing(args.output_predictions) as temporary:
        result.to_csv(temporary, index=False, float_format="%.9g")


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    for name in ("metadata", "manifest", "root", "pixels", "output-predictions"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    words = "run quantized layers in float, test images; PREDICTIONS of the model as it is"
    parser.add_argument("--float-kernels", type=Path, metavar="PREDICTIONS", help=words)
    stage.run(parser, main)
