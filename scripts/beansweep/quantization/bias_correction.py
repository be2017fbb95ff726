"""Bias correction: take the mean shift that quantization causes out of every layer.

Banner et al. 2019 and Nagel et al. 2019 ("Data-Free Quantization Through Weight Equalization and
Bias Correction", section 4.2), the empirical form, layer after layer: each is corrected on what
the corrected layers before it put out.
"""

import math
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from beansweep.models import onnx_session
from beansweep.quantization import activations
from beansweep.quantization.qdq import LAYERS


def correct(float_model: Path, quantized: Path, inputs: np.ndarray, output: Path) -> None:
    """Shift the biases of a quantized model so that each channel's mean is the float model's.

    Parameters
    ----------
    float_model : the prepared model that `quantized` was made from; layers go by node name
    quantized : in QDQ form
    inputs : float32 [n, 3, size, size], calibration images
    """
    expected = _channel_means(onnx.load(float_model), inputs)
    model = onnx.load(quantized)
    nodes = list(model.graph.node)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    restored = {node.output[0]: node for node in nodes if node.op_type == "DequantizeLinear"}
    known = {model.graph.input[0].name: [image[None] for image in inputs]}
    start = 0
    for stop, layer in enumerate(nodes, 1):
        if layer.op_type not in LAYERS:
            continue
        needed = {layer.output[0]}.union(*(node.input for node in nodes[stop:]))
        known = _run(model, nodes[start:stop], known, needed)
        start = stop
        if layer.name in expected and len(layer.input) == 3:
            outputs = known[layer.output[0]]
            shift = expected[layer.name] - np.mean([_per_channel(each) for each in outputs], axis=0)
            shift = shift_bias(constants, layer, restored, shift)
            # A layer is linear in its bias: its output need not be computed again.
            shift = shift.astype(np.float32).reshape(1, -1, *[1] * (outputs[0].ndim - 2))
            known[layer.output[0]] = [each + shift for each in outputs]
    onnx.save(model, output)


def shift_bias(
    constants: dict[str, TensorProto],
    layer: NodeProto,
    restored: dict[str, NodeProto],
    shift: np.ndarray,
) -> np.ndarray:
    """Shift a layer's bias, stored as integers or as floats, in place; return by how much it could be.

    Parameters
    ----------
    constants : the graph's, by name
    restored : value -> the DequantizeLinear that puts it out
    shift : for each output of the layer

    Integer kernels take it in steps of the input's scale times the weights'. Floats keep to those
    steps too: half a step more or less would make float kernels another model.
    """
    stored = restored.get(layer.input[2])
    quantized = [restored.get(name) for name in layer.input[:2]]
    if stored:
        tensor, step = constants[stored.input[0]], _scale(constants, stored)
    elif all(quantized):
        tensor = constants[layer.input[2]]
        step = math.prod(_scale(constants, each) for each in quantized)
    else:
        tensor, step = constants[layer.input[2]], None
    if step is not None:
        shift = np.rint(shift / step) * step
    if stored:
        limits = np.iinfo(np.int32)
        shifted = numpy_helper.to_array(tensor) + np.rint(shift / step)
        shifted = np.clip(shifted, limits.min, limits.max).astype(np.int32)
    else:
        shifted = (numpy_helper.to_array(tensor) + shift).astype(np.float32)
    tensor.CopyFrom(numpy_helper.from_array(shifted, tensor.name))
    return shift


def _scale(constants: dict[str, TensorProto], dequantize: NodeProto) -> np.ndarray:
    return numpy_helper.to_array(constants[dequantize.input[1]]).astype(np.float64)


def _per_channel(activation: np.ndarray) -> np.ndarray:
    """Mean over all axes but the channels': [1, channels, ...] -> float64 [channels]."""
    return activation.mean(axis=(0, *range(2, activation.ndim)), dtype=np.float64)


def _channel_means(model: ModelProto, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Mean output of each channel of each layer, by node name."""
    layers = {node.name: node.output[0] for node in model.graph.node if node.op_type in LAYERS}
    means = [
        [_per_channel(values[name]) for name in layers.values()]
        for values in activations.of(model, layers.values(), inputs)
    ]
    return {
        layer: np.mean(each, axis=0)
        for layer, each in zip(layers, zip(*means, strict=True), strict=True)
    }


def _run(
    model: ModelProto, nodes: list[NodeProto], known: dict[str, list[np.ndarray]], needed: set[str]
) -> dict[str, list[np.ndarray]]:
    """Run a part of a graph, in float kernels, on values computed before: name -> an array an image.

    Returns the `needed` ones, of those known before and of those computed.
    """
    read = {name for node in nodes for name in node.input}
    feeds = sorted(read & known.keys())
    fetches = sorted(needed & {name for node in nodes for name in node.output})
    graph = helper.make_graph(
        nodes,
        "part",
        [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(known[name][0].dtype), None
            )
            for name in feeds
        ],
        [onnx.ValueInfoProto(name=name) for name in fetches],
        [tensor for tensor in model.graph.initializer if tensor.name in read],
    )
    part = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    session = onnx_session.create(part.SerializeToString(), float_kernels=True)
    results = [
        session.run(fetches, dict(zip(feeds, arrays, strict=True)))
        for arrays in zip(*(known[name] for name in feeds), strict=True)
    ]
    computed = {
        name: list(arrays) for name, arrays in zip(fetches, zip(*results, strict=True), strict=True)
    }
    return {name: arrays for name, arrays in {**known, **computed}.items() if name in needed}
