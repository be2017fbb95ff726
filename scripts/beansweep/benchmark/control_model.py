"""The control model: a fixed small network that every bench times.

The same network in every bench shows how far the machine itself drifted between two of them.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from beansweep.benchmark.controls import CONTROL_MODEL, CONTROL_MODEL_SIZE
from beansweep.models import model_metadata

# Of each convolution: input channels, output channels, kernel size, stride, groups.
_CONVOLUTIONS = (
    (3, 32, 3, 2, 1),
    (32, 32, 3, 1, 32),
    (32, 64, 1, 1, 1),
    (64, 64, 3, 2, 64),
    (64, 128, 1, 1, 1),
)


def write(folder: Path) -> Path:
    """Write the control model and its metadata to `folder`, and return the metadata file.

    Its 3x3, depthwise and 1x1 convolutions in float take about as long as a small backbone. Its
    weights come from a fixed seed, so its bytes are the same everywhere.
    """
    model_file = folder / f"{CONTROL_MODEL}.onnx"
    onnx.save(_build(), model_file)
    metadata = folder / f"{CONTROL_MODEL}.json"
    model_metadata.write(metadata, model_file, labels=[], preprocessing={}, session={}, recipe={})
    return metadata


def _build() -> onnx.ModelProto:
    """The network: convolutions with ReLU one after another, then global average pooling."""
    rng = np.random.default_rng(0)
    nodes, weights = [], []
    source = "image"
    for index, (inputs, outputs, kernel, stride, groups) in enumerate(_CONVOLUTIONS):
        shape = (outputs, inputs // groups, kernel, kernel)
        weight = rng.normal(0, 0.1, shape).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"weight{index}"))
        convolution = helper.make_node(
            "Conv",
            [source, f"weight{index}"],
            [f"conv{index}"],
            strides=[stride, stride],
            pads=[kernel // 2] * 4,
            group=groups,
        )
        nodes += [convolution, helper.make_node("Relu", [f"conv{index}"], [f"relu{index}"])]
        source = f"relu{index}"
    nodes.append(helper.make_node("GlobalAveragePool", [source], ["logits"]))
    image = helper.make_tensor_value_info(
        "image", onnx.TensorProto.FLOAT, ["batch", 3, *CONTROL_MODEL_SIZE]
    )
    logits = helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, CONTROL_MODEL, [image], [logits], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
