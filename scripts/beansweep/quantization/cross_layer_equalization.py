"""Cross-layer equalization: scale channels so that they share one range of INT8 better.

One range for a whole activation is wasted on channels that use little of it. Between convolutions,
channels are scaled nearer to each other, and the weights that read them undo it (Nagel et al. 2019,
"Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.1, here with the
ranges of activations).
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from beansweep.quantization import activations
from beansweep.quantization.onnx_graph import (
    add_constant,
    along_axis,
    constant,
    groups,
    is_depthwise,
    is_own_constant,
    set_constant,
)

# Channels are scaled up by no more than this.
_LARGEST_SCALE = 64
# HardSwish is not linear, so scaled channels cost it an operator. It is worth that only where half
# of the channels use less than this part of the range.
_POORLY_USED = 0.25
# HardSwish is 0 below -3, whatever the channel.
_HARD_SWISH_FLOOR = 3


@dataclass
class _Link:
    """A convolution with channels that may be scaled.

    Attributes
    ----------
    conv : puts the channels out
    source : what is read of it: its activation's output, where it has an activation
    readers : all convolutions that read `source`
    """

    conv: ir.Node
    source: ir.Value
    readers: list[ir.Node]

    def through_hard_swish(self) -> bool:
        """Tell whether a HardSwish lies between the convolution and its readers."""
        return self.source.producer().op_type == "HardSwish"


def equalize(model: ir.Model, inputs: np.ndarray, stem: set[str]) -> None:
    """Scale the channels between convolutions so that they share a range better.

    Parameters
    ----------
    model : in float, changed in place; its function stays
    inputs : float32 [n, 3, size, size], images that show how much of its range each channel uses
    stem : names of the weights that stay in float; nothing is scaled between two of them
    """
    links = []
    for node in model.graph:
        link = _link_after(node) if node.op_type == "Conv" else None
        if link and not all(reader.inputs[1].name in stem for reader in link.readers):
            links.append(link)
    largest = _channel_maxima(model, [link.source for link in links], inputs)
    for link in links:
        _equalize_link(model.graph, link, largest[link.source.name], stem)


def _equalize_link(graph: ir.Graph, link: _Link, maxima: np.ndarray, stem: set[str]) -> None:
    """Scale the channels of one convolution, float32 [channels] of which are the largest values."""
    conv, activation = link.conv, link.source.producer()
    if link.through_hard_swish():
        # However little a channel puts out, what goes in matters from -3 on.
        scale = _balance(np.maximum(maxima, _HARD_SWISH_FLOOR), link.readers)
        if np.median(scale) >= _POORLY_USED or conv.inputs[1].name in stem:
            return
        _scale_hard_swish(graph, activation, scale, conv.inputs[1].name.removesuffix(".weight"))
    else:
        scale = _balance(maxima, link.readers)
    for value in conv.inputs[1:]:
        array = constant(value)
        set_constant(value, array * along_axis(1 / scale, 0, array.ndim))
    for reader in link.readers:
        _multiply_inputs(reader, scale)


def _link_after(conv: ir.Node) -> _Link | None:
    """Find what reads a convolution; None where scaling would change anything else."""
    source = conv.outputs[0]
    following = source.consumers()
    if len(source.uses()) == 1 and following[0].op_type in ("Relu", "HardSwish"):
        source = following[0].outputs[0]
    readers = _reading_convolutions(source)
    if not readers or len(conv.inputs) < 3:
        return None
    weights = [*conv.inputs[1:], *(reader.inputs[1] for reader in readers)]
    if not all(map(is_own_constant, weights)):
        return None
    # A map of one channel that multiplies many has no channel of its own in what reads them.
    channels = len(constant(conv.inputs[1]))
    if any(_input_channels(reader) != channels for reader in readers):
        return None
    if any(constant(node.inputs[1]).ndim != 4 for node in (conv, *readers)):
        return None
    link = _Link(conv, source, readers)
    # Weights that add channels up cannot undo the scale of a gate.
    if link.through_hard_swish() and not all(map(is_depthwise, readers)):
        return None
    return link


def _input_channels(conv: ir.Node) -> int:
    return groups(conv) * constant(conv.inputs[1]).shape[1]


def _reading_convolutions(value: ir.Value) -> list[ir.Node] | None:
    """Find the convolutions that read a value, directly or through pooling or a gate.

    Returns
    -------
    None where anything else reads the value.
    """
    if value.is_graph_output():
        return None
    found: dict[ir.Node, None] = {}
    for node in value.consumers():
        if node.op_type == "Conv" and value is node.inputs[0]:
            found[node] = None
            continue
        gates = node.op_type == "Mul" and node.inputs[0] is not node.inputs[1]
        if not gates and node.op_type != "GlobalAveragePool":
            return None
        further = _reading_convolutions(node.outputs[0])
        if further is None:
            return None
        found.update(dict.fromkeys(further))
    return list(found)


def _balance(maxima: np.ndarray, readers: list[ir.Node]) -> np.ndarray:
    """Choose what to divide each channel by, at most 1.

    Depthwise weights have a scale for each channel, so all of it goes to the activations. Other
    weights have one scale for all the channels that they read, so both share it (Xiao et al. 2023,
    "SmoothQuant").

    Parameters
    ----------
    maxima : float32 [channels], the largest magnitude of each channel
    readers : convolutions that read the channels

    Returns
    -------
    float32 [channels]
    """
    weight_maxima = [_input_maxima(reader) for reader in readers if not is_depthwise(reader)]
    scale = maxima.astype(np.float64)
    if weight_maxima:
        scale = np.sqrt(scale / np.maximum(np.max(weight_maxima, axis=0), 1e-12))
    scale = np.where(maxima > 0, scale / max(scale[maxima > 0].max(initial=0), 1e-12), 1)
    return np.maximum(scale, 1 / _LARGEST_SCALE).astype(np.float32)


def _channel_maxima(
    model: ir.Model, values: list[ir.Value], inputs: np.ndarray
) -> dict[str, np.ndarray]:
    """Find the largest magnitude of each channel of some [n, channels, height, width] values.

    Returns
    -------
    Name of the value -> float32 [channels]
    """
    largest: dict[str, np.ndarray] = {}
    names = [value.name for value in values]
    for found in activations.of(model, names, inputs):
        for name in names:
            maxima = np.abs(found[name]).max(axis=(0, 2, 3))
            largest[name] = np.maximum(largest.get(name, maxima), maxima)
    return largest


def _by_group(conv: ir.Node) -> np.ndarray:
    """View a convolution's weights as [groups, outputs of one, inputs of one, height, width]."""
    weight = constant(conv.inputs[1])
    return weight.reshape(groups(conv), -1, *weight.shape[1:])


def _input_maxima(conv: ir.Node) -> np.ndarray:
    """Find the largest weight of each channel that a convolution reads: float32 [channels]."""
    return np.abs(_by_group(conv)).max(axis=(1, 3, 4)).ravel()


def _multiply_inputs(conv: ir.Node, scale: np.ndarray) -> None:
    """Multiply a convolution's weights by the scale, float32 [channels], of what they read."""
    weight = _by_group(conv)
    scaled = weight * scale.reshape(len(weight), 1, -1, 1, 1)
    set_constant(conv.inputs[1], scaled.reshape(constant(conv.inputs[1]).shape))


def _scale_hard_swish(graph: ir.Graph, activation: ir.Node, scale: np.ndarray, name: str) -> None:
    """Replace a HardSwish by one with its input and output divided by `scale`.

    y / s = x / s * clip(x + 3, 0, 6) / 6: the gate needs x itself, which a depthwise 1x1
    convolution restores.

    Parameters
    ----------
    scale : float32 [channels]
    name : of the layer before it, for the names of the constants
    """

    def add(suffix: str, array: np.ndarray | np.generic) -> ir.Value:
        return add_constant(graph, f"{name}.{suffix}", array)

    # What lies below the floor of every channel needs no part of the range.
    floor = add("floor", np.float32(-_HARD_SWISH_FLOOR / scale.min()))
    rectified = ir.node("Clip", [activation.inputs[0], floor])
    scaled = rectified.outputs[0]
    weight = add("gate.weight", scale.reshape(-1, 1, 1, 1))
    bias = add("gate.bias", np.full_like(scale, _HARD_SWISH_FLOOR))
    low, high = add("gate.low", np.float32(0)), add("gate.high", np.float32(6))
    restored = ir.node(
        "Conv", [scaled, weight, bias], {"group": scale.size, "kernel_shape": [1, 1]}
    )
    gate = ir.node("Clip", [restored.outputs[0], low, high])
    sixth = ir.node("Mul", [gate.outputs[0], add("gate.sixth", np.float32(1 / 6))])
    product = ir.node("Mul", [scaled, sixth.outputs[0]])
    graph.insert_before(activation, [rectified, restored, gate, sixth, product])
    activation.outputs[0].replace_all_uses_with(product.outputs[0])
    graph.remove(activation, safe=True)
