"""Leave in float the layers of a quantized backbone that cost it too much accuracy."""

from pathlib import Path

import onnx
import pandas as pd
from beansweep.common import stage
from beansweep.models import model_metadata
from beansweep.quantization import calibration, mixed, onnx_graph, quantized
from beansweep.quantization.sources import Sources


def main(args) -> None:
    base, origin = model_metadata.read(args.base_metadata)
    recipe = {**origin["recipe"], **args.settings}
    chosen = recipe["calibration"]
    sources = Sources(
        {chosen: calibration.read(args.calibrations, args.model)[chosen]},
        args.root,
        origin["preprocessing"],
        args.fp32_predictions,
        f"quantize_mixed: {args.output_model.parent.name} {args.output_model.stem}",
    )
    prepared, ranking = onnx_graph.load(args.model), pd.read_csv(args.sensitivity)["layer"].tolist()
    result = mixed.quantize(prepared, recipe, sources, onnx.load(base), ranking)
    target = origin["instruction_set"]
    quantized.write(result, args.output_model, args.output_metadata, origin, target)


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="prepared model")
    parser.add_argument("--base-metadata", type=Path, required=True, help="of the static model")
    parser.add_argument("--sensitivity", type=Path, required=True, help="ranking of layers")
    parser.add_argument("--calibrations", type=Path, nargs="+", required=True, help="ranges")
    parser.add_argument("--fp32-predictions", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True, help="folder of images")
    parser.add_argument("--output-model", type=Path, required=True)
    parser.add_argument("--output-metadata", type=Path, required=True)
    stage.run(parser, main)
