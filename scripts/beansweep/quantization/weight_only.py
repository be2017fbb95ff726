"""Weight-only quantization: weights stored in INT8, everything computed in float.

The session turns the weights into floats again once, on loading. So every query computes as FP32
does, and the file is a quarter of the size.
"""

import numpy as np
import onnx_ir as ir

from beansweep.quantization import bias_correction, findings, session_entries, static
from beansweep.quantization.onnx_graph import (
    add_constant,
    constant,
    is_layer,
    is_own_constant,
    outputs_come_last,
)
from beansweep.quantization.quantized import Quantized
from beansweep.quantization.sources import Sources

_LARGEST_STEP = 127


def quantize(prepared: ir.Model, recipe: dict, sources: Sources) -> Quantized:
    """Store the weights of a model in INT8, rounded and corrected as its recipe says.

    Parameters
    ----------
    prepared : in float
    recipe : rounding and bias_correction, as in the configuration
    sources : the calibration images, to round and correct by
    """
    quantized = prepared.clone()
    store_weights(quantized.graph)
    rounding = static.rounding_of(prepared, recipe, sources)
    if rounding:
        rounding.apply(quantized)
    if recipe["bias_correction"]:
        bias_correction.correct(prepared, quantized, sources.inputs[: bias_correction.IMAGES])
    recipe = recipe | findings.of(prepared, rounding)
    return Quantized(ir.to_proto(quantized), recipe, session_entries.FOLD_WEIGHTS)


def store_weights(graph: ir.Graph) -> None:
    """Store the weights of convolutions and matrix products in INT8, a scale for each output."""
    for node in list(graph):
        if is_layer(node) and is_own_constant(node.inputs[1]):
            _store(graph, node)


def _store(graph: ir.Graph, layer: ir.Node) -> None:
    """Store one layer's weights in INT8, in place."""
    weight = layer.inputs[1]
    array = constant(weight)
    axis = array.ndim - 1 if outputs_come_last(layer) else 0
    others = tuple(index for index in range(array.ndim) if index != axis)
    largest = np.abs(array).max(axis=others, keepdims=True)
    scale = np.maximum(largest / _LARGEST_STEP, np.finfo(np.float32).tiny)
    steps = add_constant(graph, f"{weight.name}_int8", np.rint(array / scale).astype(np.int8))
    scales = add_constant(graph, f"{weight.name}_scale", scale.ravel().astype(np.float32))
    restore = ir.node(
        "DequantizeLinear", [steps, scales], {"axis": axis}, name=f"{weight.name}_restore"
    )
    graph.insert_before(layer, restore)
    layer.replace_input_with(1, restore.outputs[0])
    del graph.initializers[weight.name]
