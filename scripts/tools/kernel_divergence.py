"""Where integer kernels part from float ones, layer by layer, in one quantized model.

    python scripts/tools/kernel_divergence.py results/efficientnet_b0/int8_static.json --root IMAGES [--images N]

Runs the file twice on validation images, as it is deployed and in float kernels, and compares the
bytes after every quantizer. Where an error of kernels begins tells its cause: a kernel that
saturates changes a large part of one layer's bytes, and by many steps; rounding alone changes a few
in a million by one step, evenly up and down, and every layer after it multiplies their number. With
the scales of `beansweep.ties` there is none.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import onnx
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from beansweep.common import files
from beansweep.data import images, manifest, preprocess
from beansweep.quantization import activations


def compare(metadata: Path, root: Path, count: int) -> pd.DataFrame:
    """One row a quantizer, in order: what it quantizes, and how its bytes differ between the kernels."""
    contents = files.read_json(metadata)
    preprocessing = contents["preprocessing"]
    rows = manifest.read(metadata.parents[1] / "dataset/manifest.csv")
    paths = manifest.paths(rows, "val", count, seed=0)
    inputs = preprocess.normalise(
        images.load(root, paths, preprocessing["image_size"]), preprocessing
    )
    model = onnx.load(metadata.with_name(contents["model"]))
    producers = {name: node for node in model.graph.node for name in node.output}
    quantizers = {
        node.output[0]: producers.get(node.input[0])
        for node in model.graph.node
        if node.op_type == "QuantizeLinear"
    }
    parted = {name: [] for name in quantizers}
    for integers, floats in zip(
        activations.of(model, quantizers, inputs),
        activations.of(model, quantizers, inputs, float_kernels=True),
        strict=True,
    ):
        for name in quantizers:
            parted[name].append((integers[name].astype(int) - floats[name].astype(int)).ravel())
    result = []
    for name, node in quantizers.items():
        steps = np.concatenate(parted[name])
        result.append(
            {
                "operator": node.op_type if node else "input",
                "layer": node.name if node else "",
                "bytes that differ": f"{(steps != 0).mean():.4%}",
                "most steps": np.abs(steps).max(),
                "mean steps": f"{steps.mean():+.5f}",
            }
        )
    return pd.DataFrame(result)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("metadata", type=Path)
    parser.add_argument(
        "--root", type=Path, required=True, help="folder of the images, as dataset.root"
    )
    parser.add_argument("--images", type=int, default=16)
    args = parser.parse_args()
    print(compare(args.metadata, args.root, args.images).to_string(index=False))
