"""Rank the layers of a backbone by what quantizing each alone does to the outputs."""

from pathlib import Path

import pandas as pd
from beansweep.common import files, stage
from beansweep.data import pixels, preprocess
from beansweep.evaluation import agreement
from beansweep.models import model_metadata, onnx_session
from beansweep.quantization import calibration, onnx_graph, sensitivity

IMAGES = 24


def table(args) -> pd.DataFrame:
    model, metadata = model_metadata.read(args.metadata)
    preprocessing, recipe = metadata["preprocessing"], metadata["recipe"]
    chosen = calibration.read(args.calibrations, args.model)[recipe["calibration"]]
    stored = pixels.read(args.root, args.manifest, args.pixels)
    images = stored.select(chosen.images[:IMAGES], preprocessing)[:]
    inputs = preprocess.normalise(images, preprocessing)
    expected = preprocess.softmax(onnx_session.logits(onnx_session.create(args.model), inputs))
    reference = agreement.Reference(images, preprocessing, expected)
    title = f"sensitivity: {args.metadata.parent.name} {args.metadata.stem}"
    graphs = onnx_graph.load(args.model), onnx_graph.load(model)
    rewritten = recipe["integer_rewrites"]
    return sensitivity.table(*graphs, chosen.bounds(), reference, inputs, title, rewritten)


def main(args) -> None:
    result = sensitivity.none() if model_metadata.unavailable(args.metadata) else table(args)
    with files.replacing(args.output_table) as temporary:
        result.to_csv(temporary, index=False, float_format="%.6g")


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    for name in ("model", "metadata", "manifest", "root", "pixels", "output-table"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--calibrations", type=Path, nargs="+", required=True, help="ranges")
    stage.run(parser, main)
