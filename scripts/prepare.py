"""Prepare a float ONNX model for quantization, with integer rewrites where asked to."""

from pathlib import Path

import onnx_ir as ir
from beansweep.common import files, stage
from beansweep.data import manifest, pixels
from beansweep.models import model_metadata
from beansweep.quantization import onnx_graph, preparation


def main(args) -> None:
    model, metadata = model_metadata.read(args.metadata)
    inputs = None
    if args.integer_rewrites:
        preprocessing = metadata["preprocessing"]
        rows = manifest.read(args.manifest, manifest.IMAGES)
        paths = manifest.paths(rows, "train", preparation.IMAGES, seed=0)
        images = pixels.read(args.root, args.manifest, args.pixels)
        inputs = pixels.network_inputs(images, paths, preprocessing)
    prepared = preparation.prepare(ir.load(model), inputs)
    with files.replacing(args.output_model) as temporary:
        onnx_graph.save(ir.to_proto(prepared), temporary)


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--metadata", type=Path, required=True, help="of the float model")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--pixels", type=Path, required=True, help="record of decoded images")
    parser.add_argument("--integer-rewrites", action="store_true", help="for integer kernels")
    parser.add_argument("--output-model", type=Path, required=True)
    stage.run(parser, main)
