"""Bias correction: take the mean shift that quantization causes out of every layer.

The empirical form (Banner et al. 2019, "Post training 4-bit quantization of convolutional networks
for rapid-deployment"; Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and
Bias Correction", section 4.2). Layer after layer: each is corrected on what the corrected layers
before it put out.
"""

import numpy as np
import onnx_ir as ir

from beansweep.models import onnx_session
from beansweep.quantization import activations, onnx_graph
from beansweep.quantization.onnx_graph import (
    LAYERS,
    constant,
    dequantizers,
    is_layer,
    own_constant,
    set_constant,
)

# Images that the means are over.
IMAGES = 48

# What a value inside a graph is for each image.
Known = dict[ir.Value, list[np.ndarray]]


def correct(prepared: ir.Model, quantized: ir.Model, inputs: np.ndarray) -> None:
    """Shift the biases of a quantized model so that each channel's mean is the float model's.

    Parameters
    ----------
    prepared : in float, what `quantized` was made from; layers go by node name
    quantized : in QDQ form, changed in place
    inputs : float32 [n, 3, size, size], calibration images
    """
    expected = _channel_means(prepared, inputs)
    nodes = list(quantized.graph)
    known: Known = {quantized.graph.inputs[0]: [image[None] for image in inputs]}
    start = 0
    for stop, layer in enumerate(nodes, 1):
        if layer.op_type not in LAYERS:
            continue
        output = layer.outputs[0]
        needed = {output}.union(*(node.inputs for node in nodes[stop:]))
        known = _run(quantized, nodes[start:stop], known, needed)
        start = stop
        if layer.name not in expected:
            continue
        means = [_per_channel(activation, layer) for activation in known[output]]
        shift = expected[layer.name] - np.mean(means, axis=0)
        if len(layer.inputs) == 2:
            _shift_addition(quantized.graph, layer, shift)
        else:
            own_constant(quantized.graph, layer, 2)
            shift = shift_bias(layer, shift)
            # A layer is linear in its bias: its output need not be computed again.
            shift = shift.astype(np.float32).reshape(1, -1, *[1] * (known[output][0].ndim - 2))
            known[output] = [activation + shift for activation in known[output]]


def shift_bias(layer: ir.Node, shift: np.ndarray) -> np.ndarray:
    """Shift a layer's bias, stored as integers or as floats, in place.

    Integer kernels take a bias in steps of the input's scale times the weights'. Floats keep to
    those steps too: half a step more or less would make float kernels another model.

    Parameters
    ----------
    shift : float [outputs]

    Returns
    -------
    By how much the bias was shifted, float64 [outputs]
    """
    bias = layer.inputs[2]
    *sources, restored = dequantizers(layer)
    if restored is not None:
        step = _scale(restored)
        steps = np.rint(shift / step)
        limits = np.iinfo(np.int32)
        shifted = np.clip(constant(restored.inputs[0]) + steps, limits.min, limits.max)
        set_constant(restored.inputs[0], shifted.astype(np.int32))
        return steps * step
    if None not in sources:
        step = _scale(sources[0]) * _scale(sources[1])
        shift = np.rint(shift / step) * step
    set_constant(bias, (constant(bias) + shift).astype(np.float32))
    return shift


def _shift_addition(graph: ir.Graph, product: ir.Node, shift: np.ndarray) -> None:
    """Shift what is added to a product with weights, where that is a bias in float, in place.

    Parameters
    ----------
    shift : float [outputs]
    """
    readers = product.outputs[0].consumers()
    if len(readers) != 1 or readers[0].op_type != "Add":
        return
    for index, value in enumerate(readers[0].inputs):
        bias = constant(value)
        if bias is not None and bias.shape == shift.shape:
            own_constant(graph, readers[0], index)
            set_constant(readers[0].inputs[index], (bias + shift).astype(np.float32))


def _scale(dequantize: ir.Node) -> np.ndarray:
    return constant(dequantize.inputs[1]).astype(np.float64)


def _per_channel(activation: np.ndarray, layer: ir.Node) -> np.ndarray:
    """Average a layer's output over all axes but the channels': float64 [channels].

    Parameters
    ----------
    activation : [1, channels, ...] of a convolution, [..., channels] of any other layer
    """
    channels = 1 if layer.op_type == "Conv" else activation.ndim - 1
    others = tuple(axis for axis in range(activation.ndim) if axis != channels)
    return activation.mean(axis=others, dtype=np.float64)


def _channel_means(model: ir.Model, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Find the mean output of each channel of each layer: name -> float64 [channels]."""
    layers = {node.name: node for node in model.graph if is_layer(node)}
    outputs = {name: layer.outputs[0].name for name, layer in layers.items()}
    means: dict[str, list[np.ndarray]] = {name: [] for name in layers}
    for values in activations.of(model, outputs.values(), inputs):
        for name, layer in layers.items():
            means[name].append(_per_channel(values[outputs[name]], layer))
    return {name: np.mean(found, axis=0) for name, found in means.items()}


def _run(model: ir.Model, nodes: list[ir.Node], known: Known, needed: set[ir.Value]) -> Known:
    """Run a part of a graph, in float kernels, on values that were computed before.

    Parameters
    ----------
    nodes : the part, in order
    known : the values computed so far
    needed : the values to return

    Returns
    -------
    The needed ones of the values known before and of those computed here.
    """
    read = {value for node in nodes for value in node.inputs}
    feeds = [value for value in known if value in read]
    fetches = [value for node in nodes for value in node.outputs if value in needed]
    types = {value: known[value][0].dtype for value in feeds}
    part = onnx_graph.part(model.graph, types, fetches)
    session = onnx_session.create(part, float_kernels=True)
    found: Known = {value: arrays for value, arrays in known.items() if value in needed}
    for value in fetches:
        found[value] = []
    for index in range(len(known[feeds[0]])):
        images = {value.name: known[value][index] for value in feeds}
        results = session.run([value.name for value in fetches], images)
        for value, array in zip(fetches, results, strict=True):
            found[value].append(array)
    return found
