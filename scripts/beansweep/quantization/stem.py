"""The stem: a network's first layers, which stay in float in a graph for integer kernels.

As long as layers are narrow, integer kernels are no faster than float ones, and all that follows
would read what the stem rounds.
"""

from itertools import takewhile

import onnx_ir as ir

from beansweep.quantization.onnx_graph import LAYERS, constant

# A layer with no more outputs, and no more products in a sum, gains nothing from integer kernels.
# They compute 16 outputs of 4 products at a time, and quantizing what comes in and out takes as
# long as they save.
_NARROW = 32


def of(graph: ir.Graph) -> list[ir.Node]:
    """Return the first layers of a float graph, up to the first that is wide.

    There are none where no layer is wide: such a network would not be quantized at all.
    """
    layers = [node for node in graph if node.op_type in LAYERS]
    narrow = list(takewhile(_is_narrow, layers))
    return narrow if len(narrow) < len(layers) else []


def _is_narrow(layer: ir.Node) -> bool:
    weight = constant(layer.inputs[1])
    return weight is not None and len(weight) <= _NARROW and weight[0].size <= _NARROW
