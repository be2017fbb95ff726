"""Show where integer kernels differ from float ones, layer by layer, in one quantized model.

    python scripts/tools/kernel_divergence.py results/efficientnet_b0/int8_static.json --root IMAGES

Runs the model twice on validation images, as it is deployed and in float kernels, and compares the
bytes after every quantizer. Where a difference begins tells its cause. A kernel that saturates
changes a large part of one layer's bytes, and by many steps. Rounding alone changes a few in a
million by one step, evenly up and down, and every layer after it multiplies their number. With
exact scales there is no difference (see beansweep.quantization.exact_scales).
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from beansweep.data import images, manifest, preprocess
from beansweep.models import model_metadata
from beansweep.quantization import activations, onnx_graph


def compare(model: ir.Model, inputs: np.ndarray) -> pd.DataFrame:
    """Compare the bytes of a quantized model in both kinds of kernels.

    Parameters
    ----------
    inputs : float32 [n, 3, size, size]

    Returns
    -------
    One row a quantizer, in order: what it quantizes, and how its bytes differ.
    """
    quantizers = [node for node in model.graph if node.op_type == "QuantizeLinear"]
    names = [str(node.outputs[0].name) for node in quantizers]
    differences: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for integers, floats in zip(
        activations.of(model, names, inputs),
        activations.of(model, names, inputs, float_kernels=True),
        strict=True,
    ):
        for name in names:
            difference = integers[name].astype(int) - floats[name].astype(int)
            differences[name].append(difference.ravel())
    rows = []
    for quantizer, name in zip(quantizers, names, strict=True):
        source, steps = quantizer.inputs[0], np.concatenate(differences[name])
        node = source.producer() if source else None
        rows.append(
            {
                "operator": node.op_type if node else "input",
                "layer": (node.name or "") if node else "",
                "bytes that differ": f"{(steps != 0).mean():.4%}",
                "most steps": np.abs(steps).max(),
                "mean steps": f"{steps.mean():+.5f}",
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("metadata", type=Path, help="JSON file next to the quantized model")
    parser.add_argument(
        "--root", type=Path, required=True, help="folder of the images, as dataset.root"
    )
    parser.add_argument("--images", type=int, default=16, help="number of images (default: 16)")
    args = parser.parse_args()
    model, metadata = model_metadata.read(args.metadata)
    preprocessing = metadata["preprocessing"]
    rows = manifest.read(args.metadata.parents[1] / "dataset/manifest.csv")
    paths = manifest.paths(rows, "val", args.images, seed=0)
    pixels = images.load(args.root, paths, preprocessing)
    inputs = preprocess.normalise(pixels, preprocessing)
    print(compare(onnx_graph.load(model), inputs).to_string(index=False))


if __name__ == "__main__":
    main()
