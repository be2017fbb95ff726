"""A quantized graph in QDQ form, after the quantizer: folded, made small, its layers named."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import DeduplicateInitializersPass, RemoveUnusedNodesPass

from beansweep.quantization import exact_scales

LAYERS = ("Conv", "Gemm", "MatMul")


def tidy(model: Path, floats: Path, output: Path) -> None:
    """Fold scalings, avoid ties, keep biases as floats where that is enough, and leave out what is not needed to run.

    Names survive where a person or a table looks for them: inputs, outputs and layers.

    Parameters
    ----------
    floats : the prepared model that `model` was made from
    """
    loaded = ir.load(model)
    _fold_scalings(loaded.graph)
    exact_scales.avoid(loaded.graph, ir.load(floats).graph, LAYERS)
    if not mixes(loaded.graph):
        _float_biases(loaded.graph)
    RemoveUnusedNodesPass()(loaded)
    DeduplicateInitializersPass()(loaded)
    _shorten(loaded.graph)
    proto = ir.to_proto(loaded)
    # Types and shapes of the constants, which they have themselves.
    del proto.graph.value_info[:]
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, output)


def mixes(graph: ir.Graph) -> bool:
    """Whether a layer in float reads what was quantized."""

    def restored(value: ir.Value) -> bool:
        return value.producer() is not None and value.producer().op_type == "DequantizeLinear"

    return any(
        restored(node.inputs[0]) and not restored(node.inputs[1])
        for node in graph
        if node.op_type in LAYERS
    )


def _constant(value: ir.Value) -> np.ndarray | None:
    return value.const_value.numpy() if value.is_initializer() else None


def _dequantized(node: ir.Node | None) -> np.ndarray | None:
    """What a DequantizeLinear of a constant yields; None for any other node."""
    if node is None or node.op_type != "DequantizeLinear" or not node.inputs[0].is_initializer():
        return None
    quantized, scale, zero = (_constant(value) for value in node.inputs)
    axis = node.attributes.get_int("axis", 1)
    if scale.ndim:
        shape = [-1 if each == axis else 1 for each in range(quantized.ndim)]
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    return (quantized.astype(np.float32) - zero.astype(np.float32)) * scale


def _fold_scalings(graph: ir.Graph) -> None:
    """Drop every multiplication by a positive constant: the same bytes read with another scale.

    DQ(q, s, z) -> Mul(c) -> Q -> DQ becomes DQ(q, c s, z): it saves the operator and its rounding.
    """
    for node in [node for node in graph if node.op_type == "Mul"]:
        sources = [value.producer() for value in node.inputs]
        constants = [_dequantized(source) for source in sources]
        if sum(each is not None for each in constants) != 1 or len(node.outputs[0].uses()) != 1:
            continue
        factor = next(each for each in constants if each is not None)
        source = next(
            source for source, each in zip(sources, constants, strict=True) if each is None
        )
        quantizer = node.outputs[0].consumers()[0]
        if (
            factor.size != 1
            or not factor.item() > 0
            or quantizer.op_type != "QuantizeLinear"
            or source is None
            or source.op_type != "DequantizeLinear"
        ):
            continue
        scale = ir.Value(
            name=f"{node.outputs[0].name}_scaled",
            shape=ir.Shape([]),
            type=source.inputs[1].type,
            const_value=ir.tensor(np.float32(source.inputs[1].const_value.numpy() * factor.item())),
        )
        graph.register_initializer(scale)
        for reader in list(quantizer.outputs[0].consumers()):
            for index, value in enumerate((source.inputs[0], scale, source.inputs[2])):
                reader.replace_input_with(index, value)


def _float_biases(graph: ir.Graph) -> None:
    """Store each bias as float, without a scale: ONNX Runtime quantizes it as before when it loads."""
    for node in [node for node in graph if node.op_type in LAYERS and len(node.inputs) > 2]:
        bias = _dequantized(node.inputs[2].producer())
        if bias is None:
            continue
        stored = ir.Value(
            name=f"{node.inputs[2].name}_float",
            shape=ir.Shape(bias.shape),
            type=ir.TensorType(ir.DataType.FLOAT),
            const_value=ir.tensor(bias),
        )
        graph.register_initializer(stored)
        node.replace_input_with(2, stored)


def _shorten(graph: ir.Graph) -> None:
    """Short names for what nobody looks up, and no shapes of what is computed."""
    kept = {*graph.inputs, *graph.outputs}
    for index, value in enumerate(list(graph.initializers.values())):
        value.name = f"c{index}"
    for index, value in enumerate(value for node in graph for value in node.outputs):
        if value not in kept:
            value.name, value.shape, value.type = f"t{index}", None, None
    for node in graph:
        if node.op_type not in LAYERS:
            node.name = None
