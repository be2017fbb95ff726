"""Train a statically quantized backbone further, quantization-aware, towards its FP32."""

from functools import partial
from pathlib import Path

import onnx
import torch
from beansweep.common import files, memory, pinning, processors, stage
from beansweep.data import manifest, pixels
from beansweep.evaluation import agreement
from beansweep.models import saved_state
from beansweep.quantization import onnx_graph, qat, quantized


def quantize(args, recipe: dict, resume: Path) -> quantized.Quantized:
    base, origin = quantized.read_base(args.base_metadata)
    model, preprocessing = onnx.load(base), origin["preprocessing"]
    images = pixels.read(args.root, args.manifest, args.pixels)
    paths = manifest.paths(manifest.read(args.manifest, manifest.IMAGES), "train")
    train_images = images.select(paths, preprocessing)
    float_kernels = processors.computes_otherwise(origin["instruction_set"])
    reference = agreement.on_validation(args.fp32_predictions, images, preprocessing, float_kernels)
    prepared, variant = onnx_graph.load(args.model), args.output_model
    title = f"quantize_qat: {variant.parent.name} {variant.stem}"
    # All that decides the training: a killed one goes on only where none of it changed.
    made_from = [args.manifest, args.model, base, args.fp32_predictions]
    run = files.digest([recipe, args.code, *map(files.sha256, made_from)])
    return qat.quantize(prepared, recipe, model, train_images, reference, title, resume, run)


def main(args) -> None:
    memory.keep_freed()
    origin = files.read_json(args.base_metadata)
    recipe, target = {**origin["recipe"], **args.settings}, origin["instruction_set"]
    torch.set_num_threads(pinning.threads(args.threads, recipe["threads"]))
    resume = saved_state.path_for(args.output_model)
    make = partial(quantize, args, recipe, resume)
    quantized.write(make, recipe, args.output_model, args.output_metadata, origin, target)
    resume.unlink(missing_ok=True)


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    inputs = ("model", "base-metadata", "fp32-predictions", "manifest", "root", "pixels")
    for name in (*inputs, "output-model", "output-metadata"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--code", default="", help="digest of the code that a saved state must match"
    )
    stage.run(parser, main)
