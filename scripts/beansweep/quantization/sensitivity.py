"""Which layers quantization hurts, and how."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
from onnx import helper, numpy_helper
from onnxruntime.quantization.quant_utils import compute_data_quant_params

from beansweep.evaluation.agreement import Reference
from beansweep.models import onnx_session
from beansweep.quantization import activations, gptq, quantization

# Places of each activation at which sums are looked at, in each image.
_POSITIONS = 16
_INT16 = np.iinfo(np.int16)


def table(
    model: Path,
    quantized: Path,
    ranges: dict[str, tuple[float, float]],
    reference: Reference,
    inputs: np.ndarray,
    watch: Callable[[Iterable], Iterator],
) -> pd.DataFrame:
    """One row a quantized layer of a prepared model, the most sensitive first.

    Parameters
    ----------
    model : prepared, in float
    quantized : made from it; each layer alone gets the weights that it has there
    ranges : of the model's tensors, from `quantization.bounds`
    reference : images with FP32's probabilities
    inputs : float32 [n, 3, size, size], the same images, normalised
    watch : wraps the iteration over layers, to show progress

    Returns
    -------
    Columns: `layer`; `kl` and `agreement` with FP32 where this layer alone is quantized; `input`,
    the tensor it reads; `clipped`, the share of that tensor's values outside its range; `used`,
    the part of the range that the middle 99.8% of them fill; and `saturating`, the share of its
    pairs of products that overflow 16 bits (see `saturating_share`).
    """
    exact, weights = onnx.load(model), _restored_weights(onnx.load(quantized))
    layers = {name: nodes for name, nodes in quantization.layers(model).items() if name in weights}
    inside = _activations(model, layers, inputs, ranges)
    rows = []
    for layer, nodes in watch(layers.items()):
        alone = _quantize_alone(exact, layer, set(nodes), weights, ranges)
        score = reference.score(
            onnx_session.create(alone.SerializeToString(), quantization.KEEP_FLOAT)
        )
        rows.append({"layer": layer, **score, **inside[layer]})
    result = pd.DataFrame(rows)
    result["saturating"] = result["layer"].map(saturating_share(quantized, inputs))
    return result.sort_values("kl", ascending=False, kind="stable")


def _restored_weights(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """The weights of a quantized model's layers, float32, as they are after quantization."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    found = {}
    for node, source in gptq.quantized_layers(model):
        stored, scale, zero = (constants[name] for name in source.input)
        axis = next((each.i for each in source.attribute if each.name == "axis"), 1)
        shape = [-1 if each == axis else 1 for each in range(stored.ndim)] if scale.ndim else []
        found[node.name] = (stored.astype(np.float32) - zero.reshape(shape)) * scale.reshape(shape)
    return found


def _quantize_alone(
    model: onnx.ModelProto,
    layer: str,
    nodes: set[str],
    weights: dict[str, np.ndarray],
    ranges: dict[str, tuple[float, float]],
) -> onnx.ModelProto:
    """A model with one layer quantized: its weights, and what its nodes read and put out.

    In floats that lie on the steps of INT8, as the ranges alone make them (`beansweep.ties` makes some
    a percent larger): to have each layer's graph made by the quantizer takes several times as long as
    to run it.
    """
    graph, readers = model.graph, {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.op_type)
    touched = {
        name for node in graph.node if node.name in nodes for name in (*node.input, *node.output)
    }
    # What a Relu or a Clip alone reads has no steps of its own: the quantizer takes those of its output.
    stepped = {
        name for name in touched & ranges.keys() if readers.get(name) not in ({"Relu"}, {"Clip"})
    }
    alone = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    alone.graph.CopyFrom(onnx.GraphProto(name=graph.name, input=graph.input, output=graph.output))
    weight = next(node.input[1] for node in graph.node if node.name == layer)
    alone.graph.initializer.extend(tensor for tensor in graph.initializer if tensor.name != weight)
    alone.graph.initializer.append(numpy_helper.from_array(weights[layer], weight))

    def put_on_steps(name: str) -> str:
        """Add the nodes that make a tensor of an exact one, whose name is returned."""
        zero, scale = compute_data_quant_params(
            np.float32(ranges[name]), onnx.TensorProto.UINT8, symmetric=False
        )
        constants = [
            numpy_helper.from_array(np.asarray(each), f"{name}_{what}")
            for each, what in ((scale, "scale"), (zero, "zero"))
        ]
        alone.graph.initializer.extend(constants)
        names = [constant.name for constant in constants]
        alone.graph.node.extend(
            [
                helper.make_node("QuantizeLinear", [f"{name}_exact", *names], [f"{name}_steps"]),
                helper.make_node("DequantizeLinear", [f"{name}_steps", *names], [name]),
            ]
        )
        return f"{name}_exact"

    for value in alone.graph.input:
        if value.name in stepped:
            value.name = put_on_steps(value.name)
    for node in graph.node:
        copy = alone.graph.node.add()
        copy.CopyFrom(node)
        for index, name in enumerate(node.output):
            if name in stepped:
                copy.output[index] = put_on_steps(name)
    return alone


def _activations(
    model: Path, layers: dict, inputs: np.ndarray, ranges: dict[str, tuple[float, float]]
) -> dict[str, dict]:
    """For each layer, how its input lies in the range that a calibration found for it."""
    proto = onnx.load(model)
    reads = {node.name: node.input[0] for node in proto.graph.node if node.name in layers}
    values = list(activations.of(proto, reads.values(), inputs))
    result = {}
    for layer, name in reads.items():
        found = np.concatenate([each[name].ravel() for each in values])
        low, high = ranges[name]
        inner = np.quantile(found, (0.001, 0.999))
        result[layer] = {
            "input": name,
            "clipped": float(((found < low) | (found > high)).mean()),
            "used": float(np.ptp(inner) / max(high - low, 1e-12)),
        }
    return result


def saturating_share(model: Path, inputs: np.ndarray) -> dict[str, float]:
    """How often a layer's integer kernel would saturate on x86 without VNNI.

    Its instruction (`vpmaddubsw`) multiplies unsigned by signed bytes and adds neighbouring pairs
    of products into 16 bits. Counted over all pairs at random positions of the activations, for
    layers with unsigned activations and signed weights; depthwise kernels do not add in pairs.

    Returns
    -------
    Layer -> share of pairs that saturate.
    """
    proto = onnx.load(model)
    producers = {name: node for node in proto.graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    found = {}
    for node in proto.graph.node:
        if node.op_type not in ("Conv", "Gemm"):
            continue
        data, weight = (producers.get(name) for name in node.input[:2])
        if any(each is None or each.op_type != "DequantizeLinear" for each in (data, weight)):
            continue
        weight = numpy_helper.to_array(constants[weight.input[0]])
        depthwise = node.op_type == "Conv" and weight.shape[1] == 1
        if not depthwise and data.input[0] not in constants and weight.dtype == np.int8:
            pads = next((each.ints for each in node.attribute if each.name == "pads"), (0, 0, 0, 0))
            found[node.name] = (
                data.input[0],
                weight,
                pads,
                numpy_helper.to_array(constants[data.input[2]]),
            )
    rng = np.random.default_rng(0)
    shares = {name: [] for name in found}
    for values in activations.of(
        proto, {name for name, *_ in found.values()}, inputs, float_kernels=True
    ):
        for name, (data, weight, pads, zero) in found.items():
            if values[data].dtype == np.uint8:
                shares[name].append(_saturating(values[data], weight, pads, zero, rng))
    return {name: float(np.mean(each)) for name, each in shares.items() if each}


def _saturating(
    data: np.ndarray,
    weight: np.ndarray,
    pads: Sequence[int],
    zero: np.ndarray,
    rng: np.random.Generator,
) -> float:
    """Share of saturating pairs: data uint8 [1, channels, ...], weight int8 [outputs, channels, ...]."""
    if data.ndim == 4:
        top, left, bottom, right = pads
        padded = np.pad(data[0], [(0, 0), (top, bottom), (left, right)], constant_values=zero)
        windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], axis=(1, 2))
        rows, columns = (rng.integers(size, size=_POSITIONS) for size in windows.shape[1:3])
        # Channels last, as the kernels have them: neighbours are channels of one pixel.
        data = windows[:, rows, columns].transpose(1, 2, 3, 0).reshape(_POSITIONS, -1)
        weight = weight.transpose(0, 2, 3, 1).reshape(len(weight), -1)
    data, weight = (
        np.pad(each, [(0, 0), (0, each.shape[1] % 2)]).astype(np.int32) for each in (data, weight)
    )
    pairs = data[:, None, ::2] * weight[None, :, ::2] + data[:, None, 1::2] * weight[None, :, 1::2]
    return float(((pairs > _INT16.max) | (pairs < _INT16.min)).mean())
