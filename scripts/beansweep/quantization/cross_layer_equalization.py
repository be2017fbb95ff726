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
    readers : all weights that read `source`, each with its axis of these channels
    """

    conv: ir.Node
    source: ir.Value
    readers: list[tuple[ir.Value, int]]

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
        if link and not all(weight.name in stem for weight, _ in link.readers):
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
        _multiply(value, 0, 1 / scale)
    for weight, axis in link.readers:
        _multiply(weight, axis, scale)


def _link_after(conv: ir.Node) -> _Link | None:
    """Find what reads a convolution; None where scaling would change anything else."""
    source = conv.outputs[0]
    following = source.consumers()
    if len(source.uses()) == 1 and following[0].op_type in ("Relu", "HardSwish"):
        source = following[0].outputs[0]
    readers = _reading_weights(source)
    if not readers or len(conv.inputs) < 3:
        return None
    weights = [*conv.inputs[1:], *(weight for weight, _ in readers)]
    if not all(map(is_own_constant, weights)):
        return None
    link = _Link(conv, source, readers)
    # Weights that add channels up cannot undo the scale of a gate.
    if link.through_hard_swish() and any(axis == 1 for _, axis in readers):
        return None
    return link


def _reading_weights(value: ir.Value) -> list[tuple[ir.Value, int]] | None:
    """Find the weights that read a value, directly or through pooling or a gate.

    Returns
    -------
    Each with its axis of the value's channels; None where anything else reads the value.
    """
    if value.is_graph_output():
        return None
    found: dict[tuple[ir.Value, int], None] = {}
    for node in value.consumers():
        if node.op_type == "Conv" and value is node.inputs[0]:
            found[node.inputs[1], 0 if groups(node) > 1 else 1] = None
            continue
        gates = node.op_type == "Mul" and node.inputs[0] is not node.inputs[1]
        if not gates and node.op_type != "GlobalAveragePool":
            return None
        further = _reading_weights(node.outputs[0])
        if further is None:
            return None
        found.update(dict.fromkeys(further))
    return list(found)


def _balance(maxima: np.ndarray, readers: list[tuple[ir.Value, int]]) -> np.ndarray:
    """Choose what to divide each channel by, at most 1.

    Depthwise weights have a scale for each channel, so all of it goes to the activations. Other
    weights have one scale for all the channels that they read, so both share it (Xiao et al. 2023,
    "SmoothQuant").

    Parameters
    ----------
    maxima : float32 [channels], the largest magnitude of each channel
    readers : weights that read the channels, each with its axis of them

    Returns
    -------
    float32 [channels]
    """
    weight_maxima = [
        np.abs(constant(weight)).max(axis=(0, 2, 3)) for weight, axis in readers if axis == 1
    ]
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


def _multiply(weight: ir.Value, axis: int, scale: np.ndarray) -> None:
    """Multiply a weight or a bias along one axis."""
    array = constant(weight)
    set_constant(weight, array * along_axis(scale, axis, array.ndim))


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
