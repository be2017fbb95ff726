"""Range narrowing: leave out of an activation's range what makes no difference to its readers.

What is left out goes to the finer steps of what matters. The inputs of a SiLU network's gates reach
20 and more, of which 6 count.
"""

import math

import numpy as np
import onnx_ir as ir

from beansweep.quantization.onnx_graph import constant

# A sigmoid is within half a step of 255 from 0 or 1 where its input is further from 0 than this.
_SIGMOID_REACH = math.log(2 * 255 - 1)
# Inputs at which SiLU rises to 0 again: its least value is at -1.28.
_SILU_TAIL = np.linspace(-1.28, -20, 1000)

Bounds = dict[str, tuple[float, float]]


def narrow(graph: ir.Graph, bounds: Bounds) -> Bounds:
    """Set a tensor's range by its readers, where a calibration saw more or less than they need.

    - A tensor that only gates others, and is clipped from both sides, gets the clip's bounds,
      whatever was seen: a gate that closes below its upper bound would scale down all that passes.
    - A sigmoid within half a step of 0 or 1 is 0 or 1, so inputs further out make no difference.
    - x * sigmoid(x) far below 0 is within half a step of 0.

    Parameters
    ----------
    graph : prepared, in float
    bounds : tensor -> lowest and highest value that a calibration saw

    Returns
    -------
    The new bounds, for each tensor with a range that changes.
    """
    narrowed: Bounds = {}
    for node in graph:
        if _is_gate(node) and node.outputs[0].name in bounds:
            lowest, highest = map(constant, node.inputs[1:])
            narrowed[node.outputs[0].name] = float(lowest), float(highest)
        source = node.inputs[0] if node.inputs else None
        if source is None or source.name not in bounds or len(source.uses()) != 1:
            continue
        if node.op_type == "Sigmoid":
            ends = np.clip(bounds[source.name], -_SIGMOID_REACH, _SIGMOID_REACH)
            narrowed[source.name] = tuple(ends.tolist())
        elif _is_silu(node) and node.outputs[0].name in bounds:
            floor = _silu_floor(*bounds[node.outputs[0].name])
            low, high = bounds[source.name]
            narrowed[source.name] = max(low, floor), max(high, floor)
    return narrowed


def _is_gate(node: ir.Node) -> bool:
    """Tell whether a node clips from both sides what only multiplies others."""
    if node.op_type != "Clip" or len(node.inputs) != 3 or None in node.inputs:
        return False
    return all(reader.op_type == "Mul" for reader in node.outputs[0].consumers())


def _is_silu(node: ir.Node) -> bool:
    return node.op_type == "QuickGelu" and node.attributes.get_float("alpha", 1.702) == 1


def _silu_floor(low: float, high: float) -> float:
    """Find the input below which SiLU is within half a step of 0, for the range of its outputs."""
    half_step = (high - low) / 255 / 2
    outputs = _SILU_TAIL / (1 + np.exp(-_SILU_TAIL))
    return float(_SILU_TAIL[np.argmax(outputs >= -half_step)])
