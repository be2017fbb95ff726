"""Channels of zeros, where integer kernels are slow for the number of channels that a layer has.

Integer depthwise kernels work on 16 channels at a time and fall to a slow path for a remainder. An
integer convolution of fewer than 4 channels copies its input 9 times first.
"""

import numpy as np
import onnx_ir as ir

from beansweep.quantization.onnx_graph import (
    add_constant,
    constant,
    groups,
    is_depthwise,
    is_own_constant,
    set_constant,
)

_DEPTHWISE_CHANNELS = 16
_IMAGE_CHANNELS = 4
# Name of the node that adds channels to the image. It stays in float, where it is one copy; in INT8
# it would be three operators.
PAD_IMAGE = "fill_image"
# Operators that treat every channel by itself: value in, value out.
_CHANNELWISE = {
    "Relu",
    "LeakyRelu",
    "HardSwish",
    "HardSigmoid",
    "Sigmoid",
    "Clip",
    "QuickGelu",
    "GlobalAveragePool",
}

# A weight or bias, and its axis of channels.
Axis = tuple[ir.Value, int]


def pad_depthwise(model: ir.Model) -> None:
    """Add channels of zeros around depthwise convolutions until they are multiples of 16."""
    for node in list(model.graph):
        if node.op_type != "Conv" or not is_depthwise(node):
            continue
        missing = -groups(node) % _DEPTHWISE_CHANNELS
        axes = _axes_with_channels_of(node) if missing else None
        if axes:
            _add_channels(axes, missing)


def _add_channels(axes: list[Axis], missing: int) -> None:
    """Add channels of zeros to weights and biases, and count them as groups."""
    readers = {value.consumers()[0] for value, axis in axes if axis == 0}
    for value, axis in axes:
        _pad(value, axis, missing)
    for conv in readers:
        if groups(conv) > 1:
            conv.attributes["group"] = ir.AttrInt64("group", groups(conv) + missing)


def _axes_with_channels_of(depthwise: ir.Node) -> list[Axis] | None:
    """Find all weights and biases that share the channels of a depthwise convolution.

    The activations between them lose their shapes, which are inferred again later.

    Returns
    -------
    Each with its axis of channels; None where the channels reach what is not understood.
    """
    axes: dict[Axis, None] = {}
    values: set[ir.Value] = set()
    waiting = [depthwise.inputs[0]]
    while waiting:
        value = waiting.pop()
        if value in values:
            continue
        values.add(value)
        if value.is_graph_input() or value.is_graph_output():
            return None
        for node in (value.producer(), *value.consumers()):
            step = _follow(node, value)
            if step is None:
                return None
            axes.update(dict.fromkeys(step[0]))
            waiting += step[1]
    if not all(is_own_constant(value) for value, _ in axes):
        return None
    # A map of one channel that multiplies or joins many would no longer fit all of them.
    if any(constant(value).shape[axis] != groups(depthwise) for value, axis in axes):
        return None
    for value in values:
        value.shape = None
    return list(axes)


def _follow(node: ir.Node, value: ir.Value) -> tuple[list[Axis], list[ir.Value]] | None:
    """Follow the channels of an activation through one node that reads it or puts it out.

    Returns
    -------
    The node's weights that have these channels, and the activations that have them too; None where
    the node is not understood.
    """
    if node.op_type == "Conv":
        return _follow_convolution(node, value)
    if node.op_type in _CHANNELWISE:
        return [], [node.inputs[0], node.outputs[0]]
    if node.op_type not in ("Mul", "Add"):
        return None
    computed = [node.outputs[0]]
    for operand in node.inputs:
        array = constant(operand)
        if array is None:
            computed.append(operand)
        elif array.size > 1:
            return None
    return [], computed


def _follow_convolution(conv: ir.Node, value: ir.Value) -> tuple[list[Axis], list[ir.Value]] | None:
    """`_follow` for a convolution."""
    depthwise = is_depthwise(conv)
    if groups(conv) > 1 and not depthwise:
        return None
    if not depthwise and value is not conv.outputs[0]:
        return [(conv.inputs[1], 1)], []
    axes = [(weight, 0) for weight in conv.inputs[1:] if weight is not None]
    return axes, [conv.inputs[0], conv.outputs[0]] if depthwise else []


def _pad(weight: ir.Value, axis: int, missing: int) -> None:
    """Add zeros at the end of one axis of a constant."""
    array = constant(weight)
    ends = [(0, 0)] * array.ndim
    ends[axis] = (0, missing)
    set_constant(weight, np.pad(array, ends))


def pad_image(model: ir.Model) -> None:
    """Add channels of zeros to the image, and to the first convolution where it alone reads it."""
    graph = model.graph
    image = graph.inputs[0]
    readers = image.consumers()
    if len(readers) != 1 or readers[0].op_type != "Conv" or groups(readers[0]) > 1:
        return
    conv, weight = readers[0], readers[0].inputs[1]
    if not is_own_constant(weight) or constant(weight).shape[1] >= _IMAGE_CHANNELS:
        return
    missing = _IMAGE_CHANNELS - constant(weight).shape[1]
    _pad(weight, 1, missing)
    pads = add_constant(graph, "image_pads", np.array([0, 0, 0, 0, 0, missing, 0, 0]))
    pad = ir.node("Pad", [image, pads], name=PAD_IMAGE)
    graph.insert_before(conv, pad)
    conv.replace_input_with(0, pad.outputs[0])
