"""Swap a trained backbone's activation for one with an integer form, train it, and quantize it."""

from functools import partial
from pathlib import Path

import torch
from beansweep.common import files, memory, pinning, processors, stage
from beansweep.data import manifest, pixels
from beansweep.evaluation import agreement
from beansweep.models import checkpoints, saved_state
from beansweep.quantization import quantized
from beansweep.quantization.activation_swap import Swap


def quantize(args, resume: Path) -> quantized.Quantized:
    _, origin = quantized.read_base(args.base_metadata)
    model, _, preprocessing = checkpoints.read(args.checkpoint)
    images = pixels.read(args.root, args.manifest, args.pixels)
    float_kernels = processors.computes_otherwise(origin["instruction_set"])
    reference = agreement.on_validation(args.fp32_predictions, images, preprocessing, float_kernels)
    title = f"quantize_swapped: {args.output_model.parent.name} {args.output_model.stem}"
    rows = manifest.read(args.manifest, manifest.IMAGES)
    swap = Swap(model, preprocessing, rows, images, reference, title)
    recipe, calibrations = args.settings["recipe"], args.settings["calibrations"]
    # What was found about the base's graph is not of this one.
    base = {key: origin["recipe"][key] for key in args.settings["base"]}
    # All that decides the training: a killed one goes on only where none of it changed.
    made_from = [args.manifest, args.checkpoint, args.fp32_predictions]
    run = files.digest([args.settings, args.code, *map(files.sha256, made_from)])
    return swap.quantize(recipe, base, calibrations, resume, run)


def main(args) -> None:
    memory.keep_freed()
    origin, recipe = files.read_json(args.base_metadata), args.settings["recipe"]
    torch.set_num_threads(pinning.threads(args.threads, recipe["threads"]))
    resume = saved_state.path_for(args.output_model)
    make, target = partial(quantize, args, resume), origin["instruction_set"]
    quantized.write(make, recipe, args.output_model, args.output_metadata, origin, target)
    resume.unlink(missing_ok=True)


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    inputs = ("checkpoint", "base-metadata", "fp32-predictions", "manifest", "root", "pixels")
    for name in (*inputs, "output-model", "output-metadata"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--code", default="", help="digest of the code that a saved state must match"
    )
    stage.run(parser, main)
