"""Bit-exact INT8: a quantized network that puts out the same bytes on every processor.

Integer kernels compute the same everywhere where `exact_scales` hold and nothing saturates. Sums of
floats do not: they depend on their order, and on whether a product is rounded before it is added.
A quantizer rounds a sum that lies next to the middle between two bytes to one of them here and to
the other there, and every layer multiplies what differs. So no sum of floats may be left that is
not exact.

The first layer stays in float, unless a curve such as SiLU follows it. A sum of floats is exact, in
any order, where all its products are whole multiples of one step and their magnitudes add up to
less than 2^24 steps. So the image is rounded to a grid several times finer than its 256 levels, and
each output's weights and bias are rounded to multiples of a power of two. The largest weight has
about a thousand of them, so next to no accuracy is lost.

HardSwish follows many first layers. It is x * clip(x / 6 + 1/2, 0, 1), and x / 6 is rounded once
more on some processors than on others. With x made 4/3 as large it is x / 8, which is exact, and
the quantizer that reads the product gets a scale 4/3 as large.

All other layers are in INT8, the other narrow layers of the stem too. That costs accuracy.
"""

import numpy as np
import onnx_ir as ir

from beansweep.quantization import onnx_graph, stem
from beansweep.quantization.exact_scales import CURVES, bytes_behind, quantizer_after
from beansweep.quantization.not_applicable import NotApplicable
from beansweep.quantization.onnx_graph import LAYERS, add_constant, constant, dequantizers

# Bits of a float's mantissa.
_MANTISSA = 24
# Steps of the grid in the largest magnitude of a normalised pixel, at least.
_STEPS = 2**9
_HARD_SWISH_SCALE = 4 / 3
# What may follow the first layer in float: operators that round once. HardSwish is HardSigmoid and
# Mul here.
_ROUND_ONCE = ("Relu", "Clip", "HardSigmoid", "Mul")
# Exact on floats that are equal everywhere: they round once, or only move and compare values.
_EXACT = {
    "Add",
    "Clip",
    "Concat",
    "DequantizeLinear",
    "Expand",
    "Flatten",
    "Gather",
    "Identity",
    "MaxPool",
    "Mul",
    "Pad",
    "QuantizeLinear",
    "Relu",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Sub",
    "Transpose",
    "Unsqueeze",
}
_POOLINGS = ("AveragePool", "GlobalAveragePool")


def float_nodes(graph: ir.Graph) -> list[str]:
    """Name the nodes of a float graph that stay in float: the first layer and a plain activation.

    There are none where the first layer would be in INT8 anyway, or reads more than the image, or
    where a curve such as SiLU reads it: of a float, processors make different floats.
    """
    layer = _first_layer(graph)
    if layer is None or layer not in stem.of(graph):
        return []
    if any(node.op_type in CURVES - set(_ROUND_ONCE) for node in layer.successors()):
        return []
    names = [layer.name]
    kinds = {node.name: node.op_type for node in graph}
    for name in onnx_graph.layers(graph)[layer.name][1:]:
        if kinds[name] not in _ROUND_ONCE:
            break
        names.append(name)
    return names


def make(graph: ir.Graph, preprocessing: dict) -> None:
    """Make the first layer of a quantized graph exact, where it is in float, and check the rest.

    Parameters
    ----------
    graph : in QDQ form, in which `float_nodes` alone are in float; changed in place
    preprocessing : mean and std of the input, of pixels scaled to 0..1

    Raises
    ------
    NotApplicable
        The graph has other sums of floats, or what else is not the same on every processor.
    """
    layer = _first_layer(graph)
    exact = set()
    if layer is not None and dequantizers(layer)[1] is None:
        mean, std = (np.asarray(preprocessing[key], np.float64) for key in ("mean", "std"))
        largest = (np.maximum(mean, 1 - mean) / std).max()
        step = 2.0 ** np.floor(np.log2(largest / _STEPS))
        _round_image(graph, layer, step)
        scale = _HARD_SWISH_SCALE if _scale_hard_swish(graph, layer) else 1.0
        _round_weights(graph, layer, step, largest + step, scale)
        exact = {layer, *(node for node in layer.successors() if node.op_type in _ROUND_ONCE)}
    inexact = sorted({node.op_type for node in graph if node not in exact and not _is_exact(node)})
    if inexact:
        raise NotApplicable(
            f"bit_exact: true does not serve {', '.join(inexact)} of this network: computed in "
            "float, it differs in the last bit between processors"
        )


def _first_layer(graph: ir.Graph) -> ir.Node | None:
    """Return the convolution that alone reads the image, where it has weights and bias."""
    readers = graph.inputs[0].consumers()
    if len(readers) != 1 or readers[0].op_type != "Conv" or len(readers[0].inputs) != 3:
        return None
    layer = readers[0]
    return layer if all(constant(value) is not None for value in layer.inputs[1:]) else None


def _round_image(graph: ir.Graph, layer: ir.Node, step: float) -> None:
    """Let a layer read the image rounded to a grid.

    A number that is added and taken off again, large enough that floats next to it are a step
    apart, rounds to whole steps. Gradients pass through it as they are.
    """
    large = add_constant(graph, "image_rounding", np.float32(1.5 * 2 ** (_MANTISSA - 1) * step))
    raised = ir.node("Add", [graph.inputs[0], large])
    rounded = ir.node("Sub", [raised.outputs[0], large])
    raised.outputs[0].name, rounded.outputs[0].name = "image_raised", "image_rounded"
    graph.insert_before(layer, [raised, rounded])
    layer.replace_input_with(0, rounded.outputs[0])


def _scale_hard_swish(graph: ir.Graph, layer: ir.Node) -> bool:
    """Make HardSwish after a layer, quantized, one of inputs 4/3 as large; whether it is there."""
    readers = {node.op_type: node for node in layer.successors()}
    gate, product = readers.get("HardSigmoid"), readers.get("Mul")
    if gate is None:
        return False
    quantize = quantizer_after(product.outputs[0]) if product is not None else None
    slope_and_offset = [gate.attributes.get_float(name, 0) for name in ("alpha", "beta")]
    if quantize is None or not np.allclose(slope_and_offset, (1 / 6, 1 / 2)):
        raise NotApplicable("bit_exact: true does not know the HardSigmoid after the first layer")
    scale = (constant(quantize.inputs[1]) * _HARD_SWISH_SCALE).astype(np.float32)
    quantize.replace_input_with(1, add_constant(graph, "hard_swish_scale", scale))
    gate.attributes["alpha"] = ir.AttrFloat32("alpha", 1 / 8)
    return True


def _round_weights(
    graph: ir.Graph, layer: ir.Node, step: float, largest: float, scale: float
) -> None:
    """Round a layer's weights and biases to multiples of a power of two for each output.

    Parameters
    ----------
    step, largest : of what it reads
    scale : that what it puts out gets
    """
    weight, bias = (scale * constant(value).astype(np.float64) for value in layer.inputs[1:])
    sums = np.abs(weight).sum(axis=(1, 2, 3)) * largest + np.abs(bias)
    # Rounding may add half a step to each weight, so one bit is left free.
    unit = 2.0 ** (np.ceil(np.log2(np.maximum(sums, np.finfo(np.float32).tiny))) - _MANTISSA + 1)
    along = unit[:, None, None, None] / step
    rounded = np.rint(weight / along) * along, np.rint(bias / unit) * unit
    for index, array in enumerate(rounded, 1):
        onnx_graph.own_constant(graph, layer, index)
        onnx_graph.set_constant(layer.inputs[index], array.astype(np.float32))


def _is_exact(node: ir.Node) -> bool:
    """Tell whether a node of a quantized graph computes the same on every processor."""
    if node.op_type in LAYERS or node.op_type in _POOLINGS:
        read = dequantizers(node)[: 2 if node.op_type in LAYERS else 1]
        return None not in read and quantizer_after(node.outputs[0]) is not None
    if node.op_type in CURVES:
        quantize = quantizer_after(node.outputs[0])
        return quantize is not None and bytes_behind(quantize.inputs[0]) is not None
    return node.op_type in _EXACT
