"""Leave in float the layers of a quantized backbone that cost it too much accuracy."""

from functools import partial
from pathlib import Path

import onnx
import pandas as pd
from beansweep.common import files, processors, stage
from beansweep.data import pixels
from beansweep.quantization import calibration, mixed, onnx_graph, quantized
from beansweep.quantization.sources import Sources


def quantize(args, recipe: dict) -> quantized.Quantized:
    base, origin = quantized.read_base(args.base_metadata)
    chosen, variant = recipe["calibration"], args.output_model
    sources = Sources(
        {chosen: calibration.read(args.calibrations, args.model)[chosen]},
        pixels.read(args.root, args.manifest, args.pixels),
        origin["preprocessing"],
        args.fp32_predictions,
        f"quantize_mixed: {variant.parent.name} {variant.stem}",
        processors.computes_otherwise(origin["instruction_set"]),
    )
    prepared, ranking = onnx_graph.load(args.model), pd.read_csv(args.sensitivity)["layer"].tolist()
    return mixed.quantize(prepared, recipe, sources, onnx.load(base), ranking)


def main(args) -> None:
    origin = files.read_json(args.base_metadata)
    recipe, target = {**origin["recipe"], **args.settings}, origin["instruction_set"]
    make = partial(quantize, args, recipe)
    quantized.write(make, recipe, args.output_model, args.output_metadata, origin, target)


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    images = ("manifest", "root", "pixels")
    inputs = ("model", "base-metadata", "fp32-predictions", "sensitivity", *images)
    for name in (*inputs, "output-model", "output-metadata"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--calibrations", type=Path, nargs="+", required=True, help="ranges")
    stage.run(parser, main)
