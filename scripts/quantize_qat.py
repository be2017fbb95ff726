"""Train a statically quantized backbone further, quantization-aware, towards its FP32."""

from functools import partial
from pathlib import Path

import onnx
import torch
from beansweep.common import files, pinning, stage
from beansweep.data import images, manifest
from beansweep.evaluation import agreement
from beansweep.quantization import onnx_graph, qat, quantized


def quantize(args, recipe: dict) -> quantized.Quantized:
    base, origin = quantized.read_base(args.base_metadata)
    model, preprocessing = onnx.load(base), origin["preprocessing"]
    variant = f"{args.output_model.parent.name} {args.output_model.stem}"
    paths = manifest.paths(manifest.read(args.manifest), "train")
    loaded = images.load(args.root, paths, preprocessing, f"train images for {variant}")
    reference = agreement.on_validation(args.fp32_predictions, args.root, preprocessing)
    prepared, pixels = onnx_graph.load(args.model), torch.from_numpy(loaded)
    return qat.quantize(prepared, recipe, model, pixels, reference, f"quantize_qat: {variant}")


def main(args) -> None:
    origin = files.read_json(args.base_metadata)
    recipe, target = {**origin["recipe"], **args.settings}, origin["instruction_set"]
    # As in training: no more threads than processors.
    torch.set_num_threads(min(args.threads, recipe["threads"], pinning.cpus()))
    make = partial(quantize, args, recipe)
    quantized.write(make, recipe, args.output_model, args.output_metadata, origin, target)


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    inputs = ("model", "base-metadata", "fp32-predictions", "manifest", "root")
    for name in (*inputs, "output-model", "output-metadata"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    stage.run(parser, main)
