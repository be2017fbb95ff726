"""Quantize a backbone by one variant's recipe."""

from functools import partial
from pathlib import Path

from beansweep.common import files, processors, stage
from beansweep.data import pixels
from beansweep.quantization import calibration, onnx_graph, quantized
from beansweep.quantization.quantizers import QUANTIZERS
from beansweep.quantization.sources import Sources


def main(args) -> None:
    origin, target = files.read_json(args.metadata), args.settings["instruction_set"]
    if args.instruction_set:
        target = files.read_json(args.instruction_set)["instruction_set"]
    recipe = processors.resolve(args.settings["recipe"], target)
    sources = Sources(
        calibration.read(args.calibrations, args.model),
        pixels.read(args.root, args.manifest, args.pixels),
        origin["preprocessing"],
        args.fp32_predictions,
        f"quantize_int8: {args.output_model.parent.name} {args.output_model.stem}",
        processors.computes_otherwise(target),
    )
    prepared, quantize = onnx_graph.load(args.model), QUANTIZERS[recipe["quantizer"]]
    result = partial(quantize, prepared, recipe, sources)
    quantized.write(result, recipe, args.output_model, args.output_metadata, origin, target)


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--metadata", type=Path, required=True, help="of the float model")
    parser.add_argument("--calibrations", type=Path, nargs="*", default=[], help="ranges")
    parser.add_argument("--fp32-predictions", type=Path, help="where a choice is to be made")
    parser.add_argument("--instruction-set", type=Path, help="of the bench's machine, for auto")
    for name in ("model", "manifest", "root", "pixels", "output-model", "output-metadata"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    stage.run(parser, main)
