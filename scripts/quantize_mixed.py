"""Give back to float the layers of a quantized backbone that cost it too much accuracy."""

from functools import partial
from pathlib import Path

import onnx
import pandas as pd
from beansweep.common import progress, stage
from beansweep.models import model_metadata
from beansweep.quantization import calibration, mixed, onnx_graph, quantizer


def main(args) -> None:
    base, origin = model_metadata.read(args.base_metadata)
    recipe = {**origin["recipe"], **args.settings}
    chosen = recipe["calibration"]
    calibrations = {chosen: calibration.read(args.calibrations, args.model)[chosen]}
    sources = quantizer.Sources(
        calibrations, args.root, origin["preprocessing"], args.fp32_predictions
    )
    ranking = pd.read_csv(args.sensitivity)["layer"].tolist()
    variant = f"{args.output_metadata.parent.name} {args.output_metadata.stem}"
    watch = partial(progress.track, description=f"quantize_mixed: {variant}")
    prepared = onnx_graph.load(args.model)
    quantized = mixed.quantize(prepared, recipe, sources, onnx.load(base), ranking, watch)
    quantizer.write(
        quantized, args.output_model, args.output_metadata, origin, origin["instruction_set"]
    )


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="prepared model")
    parser.add_argument("--base-metadata", type=Path, required=True, help="of the static model")
    parser.add_argument("--sensitivity", type=Path, required=True, help="ranking of layers")
    parser.add_argument("--calibrations", type=Path, nargs="+", required=True, help="ranges")
    parser.add_argument("--fp32-predictions", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--output-model", type=Path, required=True)
    parser.add_argument("--output-metadata", type=Path, required=True)
    stage.run(parser, main)
