"""Preparing a float model for the quantizers: shapes inferred, constants folded, layers named."""

import tempfile
from pathlib import Path

import numpy as np
import onnx_ir as ir
from onnxruntime.quantization.shape_inference import quant_pre_process

from beansweep.quantization import integer_rewrites
from beansweep.quantization.onnx_graph import LAYERS


def prepare(model: ir.Model, inputs: np.ndarray | None = None, name: str = "model") -> ir.Model:
    """Prepare a float model for the quantizers.

    Parameters
    ----------
    model : as exported; may be changed
    inputs : float32 [n, 3, size, size], some images; with them the graph is rewritten for integer
        kernels as well, see `integer_rewrites`
    name : of the model, for an error message
    """
    if inputs is not None:
        model = integer_rewrites.rewrite(model, inputs, name)
    with tempfile.TemporaryDirectory() as folder:
        source, prepared = Path(folder, "source.onnx"), Path(folder, "prepared.onnx")
        ir.save(model, source)
        quant_pre_process(source, prepared)
        model = ir.load(prepared)
    _name_layers(model.graph)
    return model


def _name_layers(graph: ir.Graph) -> None:
    """Name each layer after its weights, as the network's own code does: features.1.block.0.0.

    No name is given twice.
    """
    taken = set()
    for number, node in enumerate(graph):
        if node.op_type in LAYERS and node.inputs[1].is_initializer():
            node.name = node.inputs[1].name.removesuffix("_gate").removesuffix(".weight")
        if not node.name or node.name in taken:
            # Layers may share weights, and inlined operators come without a name.
            node.name = f"{node.name or node.op_type}_{number}"
        taken.add(node.name)
