"""Sensitivity: which layers quantization hurts, and how."""

import numpy as np
import onnx
import onnx_ir as ir
import pandas as pd
from onnxruntime.quantization.quant_utils import compute_data_quant_params

from beansweep.common import progress
from beansweep.evaluation.agreement import Reference
from beansweep.models import onnx_session
from beansweep.quantization import activations, float_operators, onnx_graph, session_entries
from beansweep.quantization.onnx_graph import add_constant, constant
from beansweep.quantization.range_narrowing import Bounds

# Positions of each activation at which sums are looked at, in each image.
_POSITIONS = 16
# Filters at a time that sums are looked at of.
_FILTERS = 64
_INT16 = np.iinfo(np.int16)
# Quantiles of an activation's values between which its inner range lies.
_INNER = (0.001, 0.999)

_COLUMNS = ("layer", "kl", "agreement", "input", "clipped", "used", "saturating")


def none() -> pd.DataFrame:
    """The table of a variant that a backbone cannot have: the columns without a row."""
    return pd.DataFrame(columns=_COLUMNS)


def table(
    prepared: ir.Model,
    quantized: ir.Model,
    bounds: Bounds,
    reference: Reference,
    inputs: np.ndarray,
    description: str,
    rewritten: bool,
) -> pd.DataFrame:
    """Rank the quantized layers of a prepared model, the most sensitive first.

    Parameters
    ----------
    prepared : in float
    quantized : made from it; each layer alone gets the weights that it has there
    bounds : range of each of the prepared model's tensors
    reference : images with FP32's probabilities
    inputs : float32 [n, 3, size, size], the same images, normalised
    description : for lines on the progress
    rewritten : whether the prepared model is, so that some operators stay in float

    Returns
    -------
    One row a layer, with the columns `layer`; `kl` and `agreement` with FP32 where this layer alone
    is quantized; `input`, the tensor that it reads; `clipped`, the share of that tensor's values
    outside its range; `used`, the part of the range that the middle 99.8% of them fill; and
    `saturating`, the share of its pairs of products that overflow 16 bits (see `saturating_share`).
    """
    weights = {}
    for layer, restored in onnx_graph.quantized_layers(quantized.graph):
        weights[layer.name] = onnx_graph.dequantized(restored)
    in_float = set(float_operators.of(prepared.graph) if rewritten else ())
    nodes_of = {}
    for name, nodes in onnx_graph.layers(prepared.graph).items():
        nodes_of[name] = set(nodes) - in_float
    layers = [layer for layer in nodes_of if layer in weights]
    range_use = _range_use(prepared, layers, inputs, bounds)
    rows = []
    for layer in progress.track(layers, description):
        alone = quantize_alone(prepared, layer, nodes_of[layer], weights[layer], bounds)
        session = onnx_session.create(
            ir.to_proto(alone).SerializeToString(), session_entries.KEEP_FLOAT
        )
        rows.append({"layer": layer, **reference.score(session), **range_use[layer]})
    result = pd.DataFrame(rows, columns=_COLUMNS)
    result["saturating"] = result["layer"].map(saturating_share(quantized, inputs))
    return result.sort_values("kl", ascending=False, kind="stable")


def quantize_alone(
    prepared: ir.Model, layer: str, nodes: set[str], weight: np.ndarray, bounds: Bounds
) -> ir.Model:
    """Quantize one layer of a model: its weights, and what its nodes read and put out.

    They become floats that lie on the steps of INT8, as the ranges alone make them (`exact_scales`
    makes some a percent larger). To have the quantizer make each layer's graph takes several times
    as long as to run it.

    Parameters
    ----------
    nodes : names of the layer's nodes
    weight : float32, the layer's weights as they are after quantization
    bounds : range of each of the model's tensors
    """
    alone = prepared.clone()
    graph = alone.graph
    touched: dict[ir.Value, None] = {}
    for node in graph:
        if node.name == layer:
            onnx_graph.set_constant(node.inputs[1], weight)
        if node.name in nodes:
            touched.update(dict.fromkeys(node.inputs))
            if node.op_type != "MatMul":
                # The integer kernel of that one puts out floats.
                touched.update(dict.fromkeys(node.outputs))
    for value in touched:
        if value is not None and value.name in bounds and not _has_steps_of_its_output(value):
            _put_on_steps(graph, value, bounds[value.name])
    return alone


def _has_steps_of_its_output(value: ir.Value) -> bool:
    """Tell whether a Relu or a Clip alone reads a value: the quantizer rounds only its output."""
    return {node.op_type for node in value.consumers()} in ({"Relu"}, {"Clip"})


def _put_on_steps(graph: ir.Graph, value: ir.Value, bounds: tuple[float, float]) -> None:
    """Let all that reads a value read it rounded to the steps of its range."""
    zero, scale = compute_data_quant_params(
        np.asarray(bounds, np.float32), onnx.TensorProto.UINT8, symmetric=False
    )
    constants = [
        add_constant(graph, f"{value.name}_scale", np.asarray(scale)),
        add_constant(graph, f"{value.name}_zero", np.asarray(zero)),
    ]
    quantize = ir.node("QuantizeLinear", [value, *constants])
    restore = ir.node("DequantizeLinear", [quantize.outputs[0], *constants])
    steps = restore.outputs[0]
    steps.name = f"{value.name}_steps"
    value.replace_all_uses_with(steps, replace_graph_outputs=True)
    quantize.replace_input_with(0, value)
    if value.producer() is None:
        graph.insert_before(graph[0], [quantize, restore])
    else:
        graph.insert_after(value.producer(), [quantize, restore])


def _range_use(
    prepared: ir.Model, layers: list[str], inputs: np.ndarray, bounds: Bounds
) -> dict[str, dict]:
    """Describe how each layer's input lies in the range that a calibration found for it.

    Returns
    -------
    Layer -> the figures `input`, `clipped` and `used` of `table`.
    """
    reads = {node.name: node.inputs[0].name for node in prepared.graph if node.name in layers}
    images = list(activations.of(prepared, reads.values(), inputs))
    result = {}
    for layer, name in reads.items():
        found = np.concatenate([values[name].ravel() for values in images])
        low, high = bounds[name]
        inner = np.quantile(found, _INNER)
        result[layer] = {
            "input": name,
            "clipped": float(((found < low) | (found > high)).mean()),
            "used": float(np.ptp(inner) / max(high - low, 1e-12)),
        }
    return result


def saturating_share(quantized: ir.Model, inputs: np.ndarray) -> dict[str, float]:
    """Count how often a layer's integer kernel would saturate on x86 without VNNI.

    Its instruction (`vpmaddubsw`) multiplies unsigned by signed bytes and adds neighbouring pairs
    of products into 16 bits. Counted over all pairs at random positions of the activations, for
    layers with unsigned activations and signed weights. Depthwise kernels do not add in pairs.

    Parameters
    ----------
    quantized : in QDQ form
    inputs : float32 [n, 3, size, size]

    Returns
    -------
    Layer -> share of pairs that saturate.
    """
    layers = [node for node in quantized.graph if _adds_pairs(node)]
    bytes_of = {layer: layer.inputs[0].producer().inputs[0].name for layer in layers}
    shares: dict[str, list[float]] = {}
    rng = np.random.default_rng(0)
    for values in activations.of(quantized, bytes_of.values(), inputs, float_kernels=True):
        for layer in layers:
            data = values[bytes_of[layer]]
            if data.dtype == np.uint8:
                share = _saturating_share_of(layer, data, rng)
                shares.setdefault(layer.name, []).append(share)
    return {layer: float(np.mean(found)) for layer, found in shares.items()}


def _adds_pairs(node: ir.Node) -> bool:
    """Tell whether an integer kernel of a layer adds pairs of products of computed bytes."""
    if node.op_type not in onnx_graph.LAYERS:
        return False
    data, weight = onnx_graph.dequantizers(node)[:2]
    if data is None or weight is None or data.inputs[0].is_initializer():
        return False
    stored = constant(weight.inputs[0])
    if stored is None or stored.dtype != np.int8:
        return False
    if node.op_type == "Conv":
        return stored.ndim == 4 and stored.shape[1] > 1
    return stored.ndim == 2


def _saturating_share_of(layer: ir.Node, data: np.ndarray, rng: np.random.Generator) -> float:
    """Count one layer's pairs of products that saturate, for the bytes of one image.

    Parameters
    ----------
    data : uint8 [1, channels, height, width], or [1, ..., channels], what the layer reads
    """
    weight = constant(layer.inputs[1].producer().inputs[0])
    if layer.op_type == "Conv":
        data, weight = _convolution_rows(layer, data[0], weight, rng)
    else:
        data = data.reshape(1, -1, data.shape[-1])[:, :_POSITIONS]
        weight = (weight.T if onnx_graph.outputs_come_last(layer) else weight)[None]
    saturating = 0
    for rows, filters in zip(_even(data), _even(weight), strict=True):
        # All filters of a wide layer at once would not fit into memory.
        for start in range(0, len(filters), _FILTERS):
            some = filters[None, start : start + _FILTERS]
            first = rows[:, None, ::2] * some[..., ::2]
            second = rows[:, None, 1::2] * some[..., 1::2]
            pairs = first + second
            saturating += int(((pairs > _INT16.max) | (pairs < _INT16.min)).sum())
    outputs, pairs_of_one = weight.shape[0] * weight.shape[1], (weight.shape[2] + 1) // 2
    return saturating / (data.shape[1] * outputs * pairs_of_one)


def _convolution_rows(
    layer: ir.Node, data: np.ndarray, weight: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Cut out what a convolution multiplies at random positions, and its filters in that order.

    Channels are last, as the kernels have them: neighbours are channels of one pixel.

    Parameters
    ----------
    data : uint8 [channels, height, width]
    weight : int8 [outputs, channels of a group, kernel height, kernel width]

    Returns
    -------
    uint8 [groups, positions, d] and int8 [groups, outputs of a group, d]
    """
    count = onnx_graph.groups(layer)
    zero = constant(layer.inputs[0].producer().inputs[2])
    pads = layer.attributes.get_ints("pads", (0, 0, 0, 0))
    windows = onnx_graph.windows(data, weight.shape[2:], pads, padding=int(zero))
    height, width = windows.shape[1:3]
    rows = rng.integers(height, size=_POSITIONS)
    columns = rng.integers(width, size=_POSITIONS)
    windows = windows[:, rows, columns].reshape(count, -1, _POSITIONS, *weight.shape[2:])
    filters = weight.reshape(count, -1, *weight.shape[1:])
    return (
        windows.transpose(0, 2, 3, 4, 1).reshape(count, _POSITIONS, -1),
        filters.transpose(0, 1, 3, 4, 2).reshape(count, filters.shape[1], -1),
    )


def _even(rows: np.ndarray) -> np.ndarray:
    """Fill rows [..., d] up to an even number of columns with a zero, as int32."""
    pads = [(0, 0)] * (rows.ndim - 1) + [(0, rows.shape[-1] % 2)]
    return np.pad(rows, pads).astype(np.int32)
