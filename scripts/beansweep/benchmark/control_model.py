"""The control model: a fixed small network that every bench times, so that drift between benches shows."""

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from beansweep.benchmark.worker import CONTROL_MODEL, CONTROL_MODEL_SIZE
from beansweep.models import model_metadata


def write(folder: Path) -> Path:
    """Write a fixed small network, and return its metadata: what every bench times, so that drift between benches shows.

    Its 3x3, depthwise and 1x1 convolutions in float take about as long as a small backbone.
    """
    rng = np.random.default_rng(0)
    nodes, constants, source = [], [], "image"
    for index, (inputs, outputs, kernel, stride, group) in enumerate(
        [
            (3, 32, 3, 2, 1),
            (32, 32, 3, 1, 32),
            (32, 64, 1, 1, 1),
            (64, 64, 3, 2, 64),
            (64, 128, 1, 1, 1),
        ]
    ):
        weight = rng.normal(0, 0.1, (outputs, inputs // group, kernel, kernel)).astype(np.float32)
        constants.append(numpy_helper.from_array(weight, f"weight{index}"))
        nodes += [
            helper.make_node(
                "Conv",
                [source, f"weight{index}"],
                [f"conv{index}"],
                strides=[stride, stride],
                pads=[kernel // 2] * 4,
                group=group,
            ),
            helper.make_node("Relu", [f"conv{index}"], [f"relu{index}"]),
        ]
        source = f"relu{index}"
    nodes.append(helper.make_node("GlobalAveragePool", [source], ["logits"]))
    graph = helper.make_graph(
        nodes,
        CONTROL_MODEL,
        [
            helper.make_tensor_value_info(
                "image", onnx.TensorProto.FLOAT, ["batch", 3, *CONTROL_MODEL_SIZE]
            )
        ],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, None)],
        constants,
    )
    model = folder / f"{CONTROL_MODEL}.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), model
    )
    metadata = folder / f"{CONTROL_MODEL}.json"
    model_metadata.write(metadata, model, labels=[], preprocessing={}, session={}, recipe={})
    return metadata
