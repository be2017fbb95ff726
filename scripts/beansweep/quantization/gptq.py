"""GPTQ: weight rounding that keeps a layer's outputs, not each weight, as near as it can.

Rounding every weight to its nearest step is not the best that the same steps can do. The errors of
a filter's weights add up wherever its inputs move together, as neighbouring pixels do. So weights
are rounded one after another, and those still to come make up for the error so far, by the second
moments of the layer's inputs (Frantar et al. 2022, "GPTQ: Accurate Post-Training Quantization for
Generative Pre-trained Transformers"; Hassibi and Stork 1993, "Second order derivatives for network
pruning: Optimal Brain Surgeon"). It costs nothing when the model runs.
"""

import numpy as np
import onnx_ir as ir

from beansweep.quantization import activations, onnx_graph
from beansweep.quantization.onnx_graph import LAYERS, constant, groups

# Positions of each activation that are looked at in each image.
_POSITIONS = 256
# Columns that are rounded before all later ones make up for them at once: the paper's.
_BLOCK = 128
# What is added to the diagonal of the second moments, as a share of its mean: the paper's.
_DAMPING = 0.01


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
        self._moments = second_moments(prepared, inputs)
        self._weights = {}
        for node in prepared.graph:
            if node.name in self._moments:
                self._weights[node.name] = constant(node.inputs[1])
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
            if layer.name in self._weights and constant(stored).dtype == np.int8:
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
        moments = self._moments[layer.name]
        rows = weight.reshape(len(moments), -1, moments.shape[-1])
        scales = np.broadcast_to(scale.astype(np.float64).ravel(), len(weight))
        limit = np.abs(stored.astype(int)).max()
        steps = round_weights(rows, scales.reshape(rows.shape[:2]), moments, limit)
        steps = steps.reshape(weight.shape).astype(np.int8)
        return np.ascontiguousarray(steps.T if transposed else steps)


def second_moments(prepared: ir.Model, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Find the second moments of what each layer's weights multiply.

    Parameters
    ----------
    prepared : in float
    inputs : float32 [n, 3, size, size], calibration images

    Returns
    -------
    Layer -> float64 [groups, d, d], d the number of weights of one output in one group. A layer
    with few groups of many channels each is left out.
    """
    layers = [node for node in prepared.graph if _is_dense_or_depthwise(node)]
    rng = np.random.default_rng(0)
    sums: dict[str, np.ndarray] = {}
    for values in activations.of(prepared, {layer.inputs[0].name for layer in layers}, inputs):
        for layer in layers:
            rows = _rows(layer, values[layer.inputs[0].name], rng)
            # Products of single precision, which take half the time, and sums of double.
            products = (rows.transpose(0, 2, 1) @ rows).astype(np.float64)
            sums[layer.name] = sums.get(layer.name, 0) + products
    return sums


def _is_dense_or_depthwise(node: ir.Node) -> bool:
    if node.op_type not in LAYERS or not node.inputs[1].is_initializer():
        return False
    return groups(node) in (1, len(constant(node.inputs[1])))


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
    channels, height, width = windows.shape[:3]
    count = min(_POSITIONS, height * width)
    chosen = rng.choice(height * width, count, replace=False)
    rows = windows[:, chosen // width, chosen % width].reshape(channels, count, -1)
    if groups(layer) == 1:
        rows = rows.transpose(1, 0, 2).reshape(1, count, -1)
    return rows


def round_weights(
    weight: np.ndarray, scale: np.ndarray, moments: np.ndarray, limit: int
) -> np.ndarray:
    """Round weights one column after another, and let later columns make up for the error.

    Parameters
    ----------
    weight : float64 [groups, outputs, d]
    scale : float64 [groups, outputs]
    moments : float64 [groups, d, d], the second moments of what the weights multiply
    limit : largest step

    Returns
    -------
    Steps, float64 [groups, outputs, d]
    """
    # The inputs that matter most come first, while there is most left to make up for them.
    order = np.argsort(-np.einsum("gii->gi", moments), axis=1, kind="stable")
    left = np.take_along_axis(weight, order[:, None, :], axis=2)
    upper = _inverse_factor(moments, order)
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


def _inverse_factor(moments: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Factor the inverse of damped second moments, in this order of the inputs.

    Parameters
    ----------
    moments : float64 [groups, d, d]
    order : int [groups, d]

    Returns
    -------
    Upper triangular Cholesky factors, float64 [groups, d, d]
    """
    mean = np.einsum("gii->gi", moments).mean(axis=1)
    damping = np.maximum(_DAMPING * mean, 1e-12)[:, None, None]
    damped = moments + np.eye(moments.shape[-1]) * damping
    group = np.arange(len(moments))[:, None, None]
    damped = damped[group, order[:, :, None], order[:, None, :]]
    return np.linalg.cholesky(np.linalg.inv(damped)).transpose(0, 2, 1)
