"""GPTQ: weight rounding that keeps a layer's outputs, not each weight, as near as it can.

Rounding every weight to its nearest step is not the best that the same steps can do. The errors of
a filter's weights add up wherever its inputs move together, as neighbouring pixels do. So weights
are rounded one after another, and those still to come make up for the error so far, by the second
moments of the layer's inputs (Frantar et al. 2022, "GPTQ: Accurate Post-Training Quantization for
Generative Pre-trained Transformers"; Hassibi and Stork 1993, "Second order derivatives for network
pruning: Optimal Brain Surgeon"). It costs nothing when the model runs.
"""

import math

import numpy as np
import onnx_ir as ir

from beansweep.quantization import activations, onnx_graph
from beansweep.quantization.onnx_graph import constant, groups

# Positions of each activation that are looked at in each image.
_POSITIONS = 256
# Columns that are rounded before all later ones make up for them at once: the paper's.
_BLOCK = 128
# What is added to the diagonal of the second moments, as a share of its mean: the paper's.
_DAMPING = 0.01
# Second moments of one layer: those of the last convolutions of ResNet18, 170 MB. A dense layer of
# VGG would have 30 times as many.
_MOST_MOMENTS = 4608**2


class Rounding:
    """Rounding of one model's weights, in any quantized form of it.

    A layer is rounded once for each set of scales: with several calibrations, most layers keep
    their weights' scales.

    Parameters
    ----------
    prepared : in float
    inputs : float32 [n, 3, size, size], calibration images
    """

    def __init__(self, prepared: ir.Model, inputs: np.ndarray):
        layers = [node for node in prepared.graph if onnx_graph.is_layer(node)]
        self._weights = {layer.name: constant(layer.inputs[1]) for layer in layers}
        self._moments = second_moments(prepared, inputs)
        # Layers that are rounded to the nearest step, because their moments take too much memory.
        self.too_wide = [layer.name for layer in layers if layer.name not in self._moments]
        # Layer -> the order and the factor of its moments, which no scale changes.
        self._factors: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        # Layer -> the scales that it was rounded for last, and its weights' steps.
        self._rounded: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def apply(self, quantized: ir.Model) -> None:
        """Round the weights of a quantized model again, within the scales that it has.

        Parameters
        ----------
        quantized : made from the prepared model, changed in place; layers go by node name.
            Weights that are not symmetric stay as they are.
        """
        for layer, weight in onnx_graph.quantized_layers(quantized.graph):
            stored, scale = weight.inputs[:2]
            known = layer.name in self._moments or layer.name in self._factors
            if known and constant(stored).dtype == np.int8:
                steps = self._steps(layer, constant(stored), constant(scale))
                onnx_graph.set_constant(stored, steps)

    def _steps(self, layer: ir.Node, stored: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Round one layer's weights for these scales, unless that was done before."""
        known, steps = self._rounded.get(layer.name, (None, None))
        if known is None or not np.array_equal(known, scale):
            steps = self._round(layer, stored, scale)
            self._rounded[layer.name] = scale, steps
        return steps

    def _round(self, layer: ir.Node, stored: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Round one layer's weights: int8, in the shape that they are stored in."""
        weight = self._weights[layer.name].astype(np.float64)
        transposed = onnx_graph.outputs_come_last(layer)
        if transposed:
            weight = weight.T
        order, upper = self._factor(layer.name)
        rows = weight.reshape(len(upper), -1, upper.shape[-1])
        scales = np.broadcast_to(scale.astype(np.float64).ravel(), len(weight))
        limit = np.abs(stored.astype(int)).max()
        steps = round_weights(rows, scales.reshape(rows.shape[:2]), order, upper, limit)
        steps = steps.reshape(weight.shape).astype(np.int8)
        return np.ascontiguousarray(steps.T if transposed else steps)

    def _factor(self, layer: str) -> tuple[np.ndarray, np.ndarray]:
        """Factor a layer's moments, which are not needed again; see `inverse_factor`."""
        if layer not in self._factors:
            self._factors[layer] = inverse_factor(self._moments.pop(layer))
        return self._factors[layer]


def second_moments(prepared: ir.Model, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Find the second moments of what each layer's weights multiply.

    Parameters
    ----------
    prepared : in float
    inputs : float32 [n, 3, size, size], calibration images

    Returns
    -------
    Layer -> float64 [groups, d, d], d the number of weights of one output in one group. A layer
    that reads too much for that is left out.
    """
    layers = [node for node in prepared.graph if _has_moments(node)]
    rng = np.random.default_rng(0)
    sums: dict[str, np.ndarray] = {}
    for values in activations.of(prepared, {layer.inputs[0].name for layer in layers}, inputs):
        for layer in layers:
            rows = _rows(layer, values[layer.inputs[0].name], rng)
            # Products of single precision, which take half the time, and sums of double.
            products = rows.transpose(0, 2, 1) @ rows
            if layer.name not in sums:
                sums[layer.name] = np.zeros(products.shape)
            sums[layer.name] += products
    return sums


def _has_moments(node: ir.Node) -> bool:
    """Tell whether a node is a layer, and its second moments fit into memory."""
    if not onnx_graph.is_layer(node):
        return False
    weight = constant(node.inputs[1])
    if node.op_type == "Conv":
        return weight.ndim == 4 and groups(node) * math.prod(weight.shape[1:]) ** 2 <= _MOST_MOMENTS
    inputs = weight.shape[0 if onnx_graph.outputs_come_last(node) else 1]
    return weight.ndim == 2 and inputs**2 <= _MOST_MOMENTS


def _rows(layer: ir.Node, value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cut out what a layer's weights multiply, at random positions.

    Parameters
    ----------
    value : float32, what the layer reads of one image

    Returns
    -------
    float32 [groups, positions, d]
    """
    if layer.op_type != "Conv":
        return value.reshape(1, -1, value.shape[-1])
    attributes = layer.attributes
    windows = onnx_graph.windows(
        value[0],
        constant(layer.inputs[1]).shape[2:],
        attributes.get_ints("pads", (0, 0, 0, 0)),
        attributes.get_ints("strides", (1, 1)),
        attributes.get_ints("dilations", (1, 1)),
    )
    height, width = windows.shape[1:3]
    count = min(_POSITIONS, height * width)
    chosen = rng.choice(height * width, count, replace=False)
    rows = windows[:, chosen // width, chosen % width]
    rows = rows.reshape(groups(layer), -1, count, math.prod(rows.shape[2:]))
    return rows.transpose(0, 2, 1, 3).reshape(groups(layer), count, -1)


def round_weights(
    weight: np.ndarray, scale: np.ndarray, order: np.ndarray, upper: np.ndarray, limit: int
) -> np.ndarray:
    """Round weights one column after another, and let later columns make up for the error.

    Parameters
    ----------
    weight : float64 [groups, outputs, d]
    scale : float64 [groups, outputs]
    order, upper : of the second moments of what the weights multiply, see `inverse_factor`
    limit : largest step

    Returns
    -------
    Steps, float64 [groups, outputs, d]
    """
    left = np.take_along_axis(weight, order[:, None, :], axis=2)
    steps = np.empty_like(left)
    size = weight.shape[-1]
    for start in range(0, size, _BLOCK):
        stop = min(start + _BLOCK, size)
        errors = np.empty((*left.shape[:2], stop - start))
        for column in range(start, stop):
            steps[..., column] = np.clip(np.rint(left[..., column] / scale), -limit, limit)
            error = left[..., column] - steps[..., column] * scale
            error = error / upper[:, column, column, None]
            later = upper[:, None, column, column + 1 : stop]
            left[..., column + 1 : stop] -= error[..., None] * later
            errors[..., column - start] = error
        left[..., stop:] -= errors @ upper[:, start:stop, stop:]
    result = np.empty_like(steps)
    np.put_along_axis(result, np.broadcast_to(order[:, None, :], steps.shape), steps, axis=2)
    return result


def inverse_factor(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Factor the inverse of damped second moments, the inputs that matter most first.

    There is most left then to make up for their errors.

    Parameters
    ----------
    moments : float64 [groups, d, d]

    Returns
    -------
    The order, int [groups, d], and upper triangular Cholesky factors, float64 [groups, d, d]
    """
    order = np.argsort(-np.einsum("gii->gi", moments), axis=1, kind="stable")
    mean = np.einsum("gii->gi", moments).mean(axis=1)
    damping = np.maximum(_DAMPING * mean, 1e-12)[:, None, None]
    damped = moments + np.eye(moments.shape[-1]) * damping
    group = np.arange(len(moments))[:, None, None]
    damped = damped[group, order[:, :, None], order[:, None, :]]
    return order, np.linalg.cholesky(np.linalg.inv(damped)).transpose(0, 2, 1)
