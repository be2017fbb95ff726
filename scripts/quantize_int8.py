"""Quantize a backbone by one variant's recipe."""

from functools import partial
from pathlib import Path

from beansweep.common import files, processors, progress, stage
from beansweep.quantization import (
    calibration,
    dynamic,
    onnx_graph,
    quantizer,
    static,
    weight_only,
)

# Kind of quantizer in the configuration -> its function.
QUANTIZERS = {
    "static": static.quantize,
    "dynamic": dynamic.quantize,
    "weight_only": weight_only.quantize,
}


def main(args) -> None:
    origin = files.read_json(args.metadata)
    instruction_set = args.settings["instruction_set"]
    recipe = processors.resolve(args.settings["recipe"], instruction_set)
    calibrations = calibration.read(args.calibrations, args.model)
    sources = quantizer.Sources(
        calibrations, args.root, origin["preprocessing"], args.fp32_predictions
    )
    variant = f"{args.output_metadata.parent.name} {args.output_metadata.stem}"
    watch = partial(progress.track, description=f"quantize_int8: {variant}")
    quantize = QUANTIZERS[recipe["quantizer"]]
    quantized = quantize(onnx_graph.load(args.model), recipe, sources, watch)
    quantizer.write(quantized, args.output_model, args.output_metadata, origin, instruction_set)


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="prepared model")
    parser.add_argument("--metadata", type=Path, required=True, help="of the float model")
    parser.add_argument("--calibrations", type=Path, nargs="*", default=[], help="ranges")
    parser.add_argument(
        "--fp32-predictions", type=Path, help="of the float model, where there is a choice"
    )
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--output-model", type=Path, required=True)
    parser.add_argument("--output-metadata", type=Path, required=True)
    stage.run(parser, main)
