"""Train a statically quantized backbone further, quantization-aware, towards its FP32."""

from pathlib import Path

import onnx
import torch
from beansweep.common import pinning, stage
from beansweep.data import images, manifest
from beansweep.evaluation import agreement
from beansweep.models import model_metadata
from beansweep.quantization import onnx_graph, qat, quantized


def main(args) -> None:
    base, origin = model_metadata.read(args.base_metadata)
    recipe, preprocessing = {**origin["recipe"], **args.settings}, origin["preprocessing"]
    # As in training: no more threads than processors.
    torch.set_num_threads(min(args.threads, recipe["threads"], pinning.cpus()))
    variant = f"{args.output_model.parent.name} {args.output_model.stem}"
    paths = manifest.paths(manifest.read(args.manifest), "train")
    what = f"train images for {variant}"
    pixels = torch.from_numpy(images.load(args.root, paths, preprocessing, what))
    reference = agreement.on_validation(args.fp32_predictions, args.root, preprocessing)
    prepared, base = onnx_graph.load(args.model), onnx.load(base)
    result = qat.quantize(prepared, recipe, base, pixels, reference, f"quantize_qat: {variant}")
    target = origin["instruction_set"]
    quantized.write(result, args.output_model, args.output_metadata, origin, target)


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="prepared model")
    parser.add_argument("--base-metadata", type=Path, required=True, help="of the static model")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--fp32-predictions", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True, help="folder of images")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output-model", type=Path, required=True)
    parser.add_argument("--output-metadata", type=Path, required=True)
    stage.run(parser, main)
