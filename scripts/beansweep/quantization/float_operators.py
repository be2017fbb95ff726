"""Operators that stay in float in a graph for integer kernels.

Attention and its normalisation have no integer kernels that pay. So bytes would be made for each of
them and read again, and what they add up is what a transformer is sensitive to. Only the layers
are worth it there: an integer product with weights puts out floats for nothing. This is what the
quantizers for transformers do (NNCF's `ModelType.TRANSFORMER`; Shen et al. 2020, "Q-BERT", and
Bondarenko et al. 2021, "Understanding and Overcoming the Challenges of Efficient Transformer
Quantization", measure why).

A convolution of groups that read few channels each stays in float as well: its integer kernel goes
group by group. Any other network has nothing that stays in float, but for its stem.
"""

import onnx_ir as ir

from beansweep.quantization.onnx_graph import (
    LAYERS,
    constant,
    dequantizers,
    groups,
    is_depthwise,
    is_layer,
)

# Without an integer kernel, or with one that is no faster and rounds what attention is sensitive
# to.
_FLOAT = {
    "Div",
    "Einsum",
    "Erf",
    "Exp",
    "Gelu",
    "GroupNormalization",
    "InstanceNormalization",
    "LayerNormalization",
    "LpNormalization",
    "Pow",
    "ReduceL2",
    "ReduceMean",
    "ReduceSum",
    "Softmax",
    "Sqrt",
    "Sub",
    "Tanh",
}
# In float by itself: what it reads and what reads it may be bytes. The quantizer would round its
# weights with one scale for all channels, and there is no integer kernel.
_FLOAT_ALONE = "BatchNormalization"
# Channels that a group reads. Measured with AVX512-VNNI: the integer kernel takes 3 to 6 times as
# long as the float one and its conversions at 1 and 2 of them, as long at 4, and half as long at 8.
_FEW_CHANNELS = 4
# With an integer kernel that pays where it reads and puts out bytes.
_EITHER = {"Add", "AveragePool", "Concat", "GlobalAveragePool", "Mul", "Sigmoid", "Where"}
# As fast on bytes as on floats. What they read decides.
_MOVING = {
    "Clip",
    "Expand",
    "Flatten",
    "Gather",
    "Identity",
    "LeakyRelu",
    "MaxPool",
    "Pad",
    "Relu",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
}


def of(graph: ir.Graph) -> list[str]:
    """Name the operators of a float graph that stay in float.

    Those are normalisations and others in `_FLOAT`, and products of two activations. An operator
    with an integer kernel stays in float, too, where one of those reads it, or where it reads
    floats alone.

    Parameters
    ----------
    graph : prepared; its nodes have names
    """
    found = {node for node in graph if node.op_type in {*_FLOAT, _FLOAT_ALONE} or _is_product(node)}
    before = -1
    while len(found) > before:
        before = len(found)
        for node in graph:
            if _reads_floats(node, found) or (
                node.op_type in _EITHER and _is_read_in_float(node, found)
            ):
                found.add(node)
    return [node.name for node in graph if node in found and node.name]


def grouped_layers(graph: ir.Graph) -> list[str]:
    """Name the convolutions that stay in float because their groups read few channels each.

    Those of one channel in and one out are depthwise, and have an integer kernel of their own.
    """
    found = []
    for node in graph:
        if node.op_type == "Conv" and groups(node) > 1 and not is_depthwise(node):
            weight = constant(node.inputs[1])
            if weight is not None and weight.shape[1] <= _FEW_CHANNELS:
                found.append(node.name)
    return found


def _is_product(node: ir.Node) -> bool:
    """Tell whether a node multiplies two activations."""
    return node.op_type in LAYERS and not is_layer(node)


def _reads_floats(node: ir.Node, found: set[ir.Node]) -> bool:
    """Tell whether all that a node computes with comes in float."""
    if node.op_type not in _EITHER | _MOVING:
        return False
    read = node.inputs[:1] if node.op_type in _MOVING else node.inputs
    sources = [value.producer() for value in read if value and constant(value) is None]
    if not sources:
        return False
    return all(source in found or _is_dense(source) for source in sources)


def _is_dense(node: ir.Node | None) -> bool:
    """Tell whether a node is a product with weights, of which the integer kernel gives floats."""
    return node is not None and node.op_type == "MatMul" and is_layer(node)


def _is_read_in_float(node: ir.Node, found: set[ir.Node]) -> bool:
    """Tell whether an operator in float reads a node, or what is moved from it."""
    for reader in node.successors():
        if reader in found and reader.op_type != _FLOAT_ALONE:
            return True
        if reader.op_type in _MOVING and _is_read_in_float(reader, found):
            return True
    return False


def needless_ranges(graph: ir.Graph) -> set[str]:
    """Name the tensors that operators in float alone put out and read: nothing needs their ranges.

    Half of a transformer's tensors are such.
    """
    in_float, found = set(of(graph)), set()
    for node in graph:
        for value in node.outputs:
            touching = {node.name, *(reader.name for reader in value.consumers())}
            if touching <= in_float:
                found.add(value.name)
    return found


def read_unrounded(quantized: ir.Graph, names: list[str]) -> None:
    """Let operators in float read floats where there are some, and not bytes made of them.

    The quantizer lets all that reads a tensor read its bytes, though only layers ask for them.

    Parameters
    ----------
    quantized : in QDQ form, changed in place; what nothing reads any more is left in it
    names : of the operators in float
    """
    in_float = set(names)
    for quantizer in [node for node in quantized if node.op_type == "QuantizeLinear"]:
        source = quantizer.inputs[0]
        if not _comes_in_float(source.producer(), in_float):
            continue
        for restored in quantizer.outputs[0].consumers():
            for node, index in list(restored.outputs[0].uses()):
                if node.name in in_float:
                    node.replace_input_with(index, source)


def _comes_in_float(node: ir.Node | None, in_float: set[str]) -> bool:
    """Tell whether a node of a quantized graph puts out floats at no cost."""
    if node is None or node.op_type == "MatMul" or node.name in in_float:
        return True
    return not any(dequantizers(node))
