"""Weight rounding that keeps a layer's outputs, not each weight, as near as it can.

Rounding every weight to its nearest step is not the best that the same steps can do: the errors of
a filter's weights add up wherever its inputs move together, as neighbouring pixels do. Weights are
rounded one after another, and those still to come make up for the error so far, by the second
moments of the layer's inputs (Frantar et al. 2022, "GPTQ"; Hassibi and Stork 1993). It costs
nothing when the model runs.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from beansweep.quantization import activations
from beansweep.quantization.qdq import LAYERS

# Positions of each activation that are looked at in each image.
_POSITIONS = 256
# Columns that are rounded before all later ones make up for them at once: the paper's.
_BLOCK = 128
# What is added to the diagonal of the second moments, as a share of its mean: the paper's.
_DAMPING = 0.01


def second_moments(model: Path, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Second moments of what each layer's weights multiply.

    Parameters
    ----------
    model : prepared, in float
    inputs : float32 [n, 3, size, size], calibration images

    Returns
    -------
    Layer -> float64 [groups, d, d], d the weights of one output in one group; a layer with few
    groups of many channels each is left out.
    """
    proto = onnx.load(model)
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    layers = [
        node
        for node in proto.graph.node
        if node.op_type in LAYERS
        and node.input[1] in constants
        and _groups(node) in (1, constants[node.input[1]].dims[0])
    ]
    rng = np.random.default_rng(0)
    sums = {}
    for values in activations.of(proto, {node.input[0] for node in layers}, inputs):
        for node in layers:
            rows = _rows(node, values[node.input[0]], constants[node.input[1]].dims, rng)
            # Products of single precision, which take half the time, and sums of double.
            sums[node.name] = sums.get(node.name, 0) + (rows.transpose(0, 2, 1) @ rows).astype(
                np.float64
            )
    return sums


def _attribute(node: NodeProto, name: str, otherwise):
    return next(
        (helper.get_attribute_value(each) for each in node.attribute if each.name == name),
        otherwise,
    )


def _groups(node: NodeProto) -> int:
    return _attribute(node, "group", 1)


def _rows(
    node: NodeProto, value: np.ndarray, shape: list[int], rng: np.random.Generator
) -> np.ndarray:
    """What a layer's weights multiply, at random positions: float32 [groups, positions, d]."""
    if node.op_type != "Conv":
        return value.reshape(1, -1, value.shape[-1])
    top, left, bottom, right = _attribute(node, "pads", (0, 0, 0, 0))
    dilation = _attribute(node, "dilations", (1, 1))
    stride = _attribute(node, "strides", (1, 1))
    padded = np.pad(value[0], [(0, 0), (top, bottom), (left, right)])
    reach = [(size - 1) * step + 1 for size, step in zip(shape[2:], dilation, strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(1, 2))
    windows = windows[:, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
    count = min(_POSITIONS, windows.shape[1] * windows.shape[2])
    at = rng.choice(windows.shape[1] * windows.shape[2], count, replace=False)
    rows = windows[:, at // windows.shape[2], at % windows.shape[2]].reshape(len(padded), count, -1)
    if _groups(node) == 1:
        rows = rows.transpose(1, 0, 2).reshape(1, count, -1)
    return rows


class Rounding:
    """Rounding of one model's weights, in any quantized form of it.

    A layer is rounded once for each set of scales: of several calibrations, most leave the
    weights' scales as they are.

    Parameters
    ----------
    model : prepared, in float
    inputs : float32 [n, 3, size, size], calibration images
    """

    def __init__(self, model: Path, inputs: np.ndarray):
        self._moments = second_moments(model, inputs)
        proto = onnx.load(model)
        exact = {tensor.name: tensor for tensor in proto.graph.initializer}
        self._weights = {
            node.name: numpy_helper.to_array(exact[node.input[1]])
            for node in proto.graph.node
            if node.name in self._moments
        }
        self._found: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def apply(self, quantized: Path, output: Path) -> None:
        """Round the weights of a quantized model anew, within the scales that it has.

        Parameters
        ----------
        quantized : made from `model`, layers go by node name; with DequantizeLinear at each
            weight, symmetric
        """
        proto = onnx.load(quantized)
        constants = {tensor.name: tensor for tensor in proto.graph.initializer}
        for node, source in quantized_layers(proto):
            stored = constants[source.input[0]]
            if node.name not in self._weights or stored.data_type != onnx.TensorProto.INT8:
                continue
            scale = numpy_helper.to_array(constants[source.input[1]])
            known, steps = self._found.get(node.name, (None, None))
            if known is None or not np.array_equal(known, scale):
                steps = self._round(node, numpy_helper.to_array(stored), scale)
                self._found[node.name] = scale, steps
            stored.CopyFrom(numpy_helper.from_array(steps, stored.name))
        onnx.save(proto, output)

    def _round(self, node: NodeProto, steps: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Steps int8 of one layer's weights, in the shape that they are stored in."""
        weight = self._weights[node.name].astype(np.float64)
        # One row an output: a convolution has them first, a matrix product last unless transposed.
        last = node.op_type != "Conv" and not (
            node.op_type == "Gemm" and _attribute(node, "transB", 0)
        )
        if last:
            weight, steps = weight.T, steps.T
        second = self._moments[node.name]
        rows = weight.reshape(len(second), -1, second.shape[-1])
        scales = np.broadcast_to(scale.astype(np.float64).ravel(), len(weight)).reshape(
            rows.shape[:2]
        )
        limit = np.abs(steps.astype(int)).max()
        found = _rounded(rows, scales, second, limit).reshape(steps.shape).astype(np.int8)
        return np.ascontiguousarray(found.T if last else found)


def quantized_layers(model: onnx.ModelProto) -> list[tuple[NodeProto, NodeProto]]:
    """Layers of a quantized model with quantized weights, each with its weights' DequantizeLinear."""
    restored = {
        node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"
    }
    return [
        (node, restored[node.input[1]])
        for node in model.graph.node
        if node.op_type in LAYERS and node.input[1] in restored
    ]


def _rounded(weight: np.ndarray, scale: np.ndarray, second: np.ndarray, limit: int) -> np.ndarray:
    """Steps float64 [groups, outputs, d] for weights of that shape, with a scale float64 [groups, outputs]."""
    size = weight.shape[-1]
    diagonal = np.einsum("gii->gi", second)
    damped = (
        second + np.eye(size) * np.maximum(_DAMPING * diagonal.mean(axis=1), 1e-12)[:, None, None]
    )
    # The inputs that matter most come first, while there is most left to make up for them.
    order = np.argsort(-diagonal, axis=1, kind="stable")
    each = np.arange(len(second))[:, None]
    damped = damped[each[..., None], order[:, :, None], order[:, None, :]]
    left = np.take_along_axis(weight, order[:, None, :], axis=2)
    upper = np.linalg.cholesky(np.linalg.inv(damped)).transpose(0, 2, 1)
    steps = np.empty_like(left)
    for start in range(0, size, _BLOCK):
        stop = min(start + _BLOCK, size)
        errors = np.empty((*left.shape[:2], stop - start))
        for column in range(start, stop):
            steps[..., column] = np.clip(np.rint(left[..., column] / scale), -limit, limit)
            error = (left[..., column] - steps[..., column] * scale) / upper[
                :, column, column, None
            ]
            left[..., column + 1 : stop] -= (
                error[..., None] * upper[:, None, column, column + 1 : stop]
            )
            errors[..., column - start] = error
        left[..., stop:] -= errors @ upper[:, start:stop, stop:]
    result = np.empty_like(steps)
    np.put_along_axis(result, np.broadcast_to(order[:, None, :], steps.shape), steps, axis=2)
    return result
