"""Making a quantized graph small: scalings folded, biases in float, short names, nothing unused.

Names survive where a person or a table looks for them: inputs, outputs and layers.
"""

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import DeduplicateInitializersPass, RemoveUnusedNodesPass

from beansweep.quantization.onnx_graph import (
    LAYERS,
    add_constant,
    constant,
    dequantized,
    dequantizers,
    reads_bytes_in_float,
)


def fold_scalings(model: ir.Model) -> None:
    """Drop every multiplication by a positive constant: the same bytes, read with another scale.

    DQ(q, s, z) -> Mul(c) -> Q -> DQ becomes DQ(q, c s, z), which saves the operator and its
    rounding.
    """
    for node in list(model.graph):
        if node.op_type == "Mul" and len(node.outputs[0].uses()) == 1:
            _fold_scaling(model.graph, node)


def _fold_scaling(graph: ir.Graph, product: ir.Node) -> None:
    """Let the readers of a product read what it multiplies instead, where that is possible."""
    source, factor = _source_and_factor(product)
    quantizer = product.outputs[0].consumers()[0]
    if source is None or quantizer.op_type != "QuantizeLinear":
        return
    stored, scale, zero = source.inputs
    scaled = np.float32(constant(scale) * factor)
    scale = add_constant(graph, f"{product.outputs[0].name}_scaled", scaled)
    for reader in list(quantizer.outputs[0].consumers()):
        for index, value in enumerate((stored, scale, zero)):
            reader.replace_input_with(index, value)


def _source_and_factor(product: ir.Node) -> tuple[ir.Node | None, float]:
    """Split a product into the DequantizeLinear of an activation and a positive constant.

    Returns
    -------
    None and 0 where the product is of anything else.
    """
    first, second = dequantizers(product)
    for source, other in ((first, second), (second, first)):
        factor = dequantized(other)
        if source is None or factor is None or dequantized(source) is not None:
            continue
        if factor.size == 1 and factor.item() > 0:
            return source, factor.item()
    return None, 0.0


def store_float_biases(model: ir.Model) -> None:
    """Store each bias as float, without a scale: ONNX Runtime quantizes it again when it loads.

    Biases stay as they are where a layer in float reads what was quantized: the optimiser that
    quantizes biases is switched off for such a graph (see `session_entries`).
    """
    if reads_bytes_in_float(model.graph):
        return
    for node in list(model.graph):
        has_bias = node.op_type in LAYERS and len(node.inputs) > 2
        bias = dequantized(node.inputs[2].producer()) if has_bias else None
        if bias is not None:
            stored = add_constant(model.graph, f"{node.inputs[2].name}_float", bias)
            node.replace_input_with(2, stored)


def remove_unused(model: ir.Model) -> None:
    """Remove nodes and constants that nothing reads, and all but one of equal constants."""
    RemoveUnusedNodesPass()(model)
    DeduplicateInitializersPass()(model)


def shorten_names(model: ir.Model) -> None:
    """Give short names to what nobody looks up, and drop types and shapes inside the graph."""
    graph = model.graph
    for index, value in enumerate(list(graph.initializers.values())):
        value.name, value.shape, value.type = f"c{index}", None, None
    computed = [value for node in graph for value in node.outputs]
    for index, value in enumerate(computed):
        if not value.is_graph_output():
            value.name, value.shape, value.type = f"t{index}", None, None
    for node in graph:
        if node.op_type not in LAYERS:
            node.name = None
