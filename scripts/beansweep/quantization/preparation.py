"""Preparing a float model for the quantizers: shapes inferred, constants folded, layers named."""

import tempfile
from pathlib import Path

import numpy as np
import onnx_ir as ir
from onnxruntime.quantization.shape_inference import quant_pre_process

from beansweep.common import memory
from beansweep.quantization import integer_rewrites, undone_rewrites
from beansweep.quantization.onnx_graph import is_layer

# Training images that show how much of its range each channel uses.
IMAGES = 32


def prepare(model: ir.Model, inputs: np.ndarray | None = None) -> ir.Model:
    """Prepare a float model for the quantizers.

    Parameters
    ----------
    model : as exported; may be changed
    inputs : float32 [n, 3, size, size], some images; with them the graph is rewritten for integer
        kernels as well, see `integer_rewrites`

    Returns
    -------
    The prepared model, with a note of the rewrites that did not fit, see `undone_rewrites`.
    """
    undone: list[str] = []
    if inputs is not None:
        model, undone = integer_rewrites.rewrite(model, inputs)
    model = _with_shapes(model)
    _name_layers(model.graph)
    undone_rewrites.write(model, undone)
    return model


def _with_shapes(model: ir.Model) -> ir.Model:
    """Infer the shapes of a model, and fold its constants."""
    with tempfile.TemporaryDirectory() as folder:
        source, prepared = Path(folder, "source.onnx"), Path(folder, "prepared.onnx")
        ir.save(model, source)
        try:
            quant_pre_process(source, prepared)
        # It raises whatever it meets in operators that it does not know, such as a TypeError. The
        # inference of ONNX itself knows them.
        except Exception as error:
            if memory.ran_out(error):
                raise
            quant_pre_process(source, prepared, skip_symbolic_shape=True)
        return ir.load(prepared)


def _name_layers(graph: ir.Graph) -> None:
    """Name each layer after its weights, as the network's own code does: features.1.block.0.0.

    No name is given twice.
    """
    taken = set()
    for number, node in enumerate(graph):
        if is_layer(node):
            node.name = node.inputs[1].name.removesuffix("_gate").removesuffix(".weight")
        if not node.name or node.name in taken:
            # Layers may share weights, and inlined operators come without a name.
            node.name = f"{node.name or node.op_type}_{number}"
        taken.add(node.name)
