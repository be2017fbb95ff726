"""Findings: what a quantized network lacks that others have, and what makes it slow."""

import onnx
import onnx_ir as ir

from beansweep.models import fused_operators
from beansweep.quantization import gptq, onnx_graph, undone_rewrites

# Operators that INT8 leaves in float, or that run as fast on bytes: they only move or count values.
_CHEAP = {
    "Cast",
    "Clip",
    "Concat",
    "Conv",
    "Expand",
    "Flatten",
    "FusedConv",
    "Gather",
    "Gemm",
    "GlobalAveragePool",
    "Identity",
    "MatMulIntegerToFloat",
    "MaxPool",
    "Pad",
    "QGemm",
    "Relu",
    "ReorderInput",
    "ReorderOutput",
    "Reshape",
    "Shape",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
}
_CONVERSIONS = ("QuantizeLinear", "DequantizeLinear")
# An image that comes in and logits that go out, in float, are converted in every network.
_FEW_CONVERSIONS = 4


def of(prepared: ir.Model, rounding: gptq.Rounding | None) -> dict:
    """Say what a network lacks.

    Parameters
    ----------
    prepared : in float
    rounding : of its weights, where GPTQ was asked for

    Returns
    -------
    `undone_rewrites`, names of integer rewrites, and `nearest_rounding`, names of layers that have
    too many inputs for GPTQ; each only where there are any.
    """
    found = {}
    undone = undone_rewrites.read(prepared)
    if undone:
        found["undone_rewrites"] = undone
    if rounding and rounding.too_wide:
        found["nearest_rounding"] = rounding.too_wide
    return found


def cost(model: onnx.ModelProto, session: dict[str, str]) -> dict:
    """Say what an INT8 model computes beyond its layers in integers, on this machine.

    Parameters
    ----------
    model : in QDQ form
    session : the options that it is run with

    Returns
    -------
    `conversions`, the number of conversions between bytes and floats; `float_operators`, which
    operators in float make them necessary, with their numbers, most first; `grouped_layers`, the
    number of convolutions of several groups that are not depthwise, which integer kernels compute
    group by group. Each only where there are any.
    """
    kernels = fused_operators.count(model.SerializeToString(), session)
    conversions = sum(kernels[name] for name in _CONVERSIONS)
    found: dict = {}
    if conversions > _FEW_CONVERSIONS:
        found["conversions"] = conversions
        found["float_operators"] = {}
        for name, count in kernels.most_common():
            if not (name in _CHEAP or name in _CONVERSIONS or name.startswith("QLinear")):
                found["float_operators"][name] = count
    grouped = _grouped_layers(ir.from_proto(model).graph)
    return found | ({"grouped_layers": grouped} if grouped else {})


def _grouped_layers(graph: ir.Graph) -> int:
    """Count the quantized convolutions of several groups that are not depthwise."""
    count = 0
    for layer, weights in onnx_graph.quantized_layers(graph):
        several_inputs = onnx_graph.constant(weights.inputs[0]).shape[1:2] > (1,)
        if layer.op_type == "Conv" and onnx_graph.groups(layer) > 1 and several_inputs:
            count += 1
    return count
