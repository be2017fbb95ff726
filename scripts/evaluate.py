"""Predict every validation and test image with one model, as it would be deployed."""

from pathlib import Path

from beansweep.common import files, stage
from beansweep.data import manifest, pixels
from beansweep.data.splitting import PICK
from beansweep.evaluation import predictions
from beansweep.models import model_metadata, onnx_session


def main(args) -> None:
    rows = manifest.read(args.manifest)
    # Float kernels are for the report's diagnosis alone, which is about the test images.
    splits = ["test"] if args.float_kernels else ["val", PICK, "test"]
    rows = rows[rows["split"].isin(splits)]
    description = f"evaluate: {args.metadata.parent.name} {args.metadata.stem}"
    if args.float_kernels:
        description += " in float kernels"
    if model_metadata.unavailable(args.metadata):
        result = predictions.none(manifest.labels(rows))
    else:
        session, metadata = onnx_session.load(args.metadata, float_kernels=args.float_kernels)
        images = pixels.read(args.root, args.manifest, args.pixels)
        result = predictions.predict(session, metadata, images, rows, description)
    with files.replacing(args.output_predictions) as temporary:
        result.to_csv(temporary, index=False, float_format="%.9g")


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--metadata", type=Path, required=True, help="of the model")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True, help="folder of images")
    parser.add_argument("--pixels", type=Path, required=True, help="record of decoded images")
    parser.add_argument(
        "--float-kernels", action="store_true", help="run quantized layers in float, test images"
    )
    parser.add_argument("--output-predictions", type=Path, required=True)
    stage.run(parser, main)
