"""Reading and editing ONNX graphs: what several methods of this room need beyond onnx_ir."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from beansweep.models import onnx_versions

# Operators that multiply weights.
LAYERS = ("Conv", "Gemm", "MatMul")
# Of a model that is run once and not written.
_IR_VERSION = 10


def load(path: Path) -> ir.Model:
    """Read a model file; `ir.to_proto` of the result is the same file again."""
    return from_proto(onnx.load(path))


def from_proto(proto: onnx.ModelProto) -> ir.Model:
    """Convert a model for editing.

    onnx_ir adds to every constant the type and the shape of its array, and would write both into
    the file. They go again where the file did not have them.
    """
    described = {info.name for info in proto.graph.value_info}
    model = ir.from_proto(proto)
    for value in model.graph.initializers.values():
        if value.name not in described and not value.is_graph_input():
            value.type, value.shape = None, None
    return model


def save(proto: onnx.ModelProto, path: Path) -> None:
    """Give a model the lowest versions that it can have, check it and write it."""
    onnx_versions.lower(proto)
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)


def constant(value: ir.Value | None) -> np.ndarray | None:
    """Return a constant's array, or None for what is computed, fed or left out."""
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def set_constant(value: ir.Value, array: np.ndarray) -> None:
    """Replace the array of a constant; its name stays."""
    value.const_value = ir.tensor(array, name=value.name)
    if value.shape is not None:
        value.shape = ir.Shape(array.shape)


def add_constant(graph: ir.Graph, name: str, array: np.ndarray | np.generic) -> ir.Value:
    """Add a constant, an array or a single number, to a graph."""
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
    graph.register_initializer(value)
    return value


def is_own_constant(value: ir.Value) -> bool:
    """Tell whether a value is a constant that one node alone reads, once."""
    return value.is_initializer() and len(value.uses()) == 1


def own_constant(graph: ir.Graph, node: ir.Node, index: int) -> None:
    """Give a node a copy of a constant that others read, too: what is equal is stored once."""
    value = node.inputs[index]
    source = value.producer()
    if source is not None:
        # A constant in INT8.
        node, index, value = source, 0, source.inputs[0]
    if len(value.uses()) > 1:
        copy = add_constant(graph, f"{node.outputs[0].name}_own", constant(value))
        node.replace_input_with(index, copy)


def attributes(node: ir.Node) -> dict:
    """Return a node's attributes as plain Python values, by name."""
    return {name: attribute.value for name, attribute in node.attributes.items()}


def groups(conv: ir.Node) -> int:
    """Return the number of groups of a convolution; any other layer has one."""
    return conv.attributes.get_int("group", 1)


def is_depthwise(conv: ir.Node) -> bool:
    """Tell whether a convolution has more than one group, each of one input and one output."""
    weight = constant(conv.inputs[1])
    if weight is None or groups(conv) == 1:
        return False
    return weight.shape[:2] == (groups(conv), 1)


def is_layer(node: ir.Node) -> bool:
    """Tell whether a node of a float graph multiplies weights, and not two activations."""
    return node.op_type in LAYERS and constant(node.inputs[1]) is not None


def outputs_come_last(layer: ir.Node) -> bool:
    """Tell whether a layer's weights have the outputs on the last axis; a convolution's do not."""
    return layer.op_type != "Conv" and not layer.attributes.get_int("transB", 0)


def producer(value: ir.Value | None, op_type: str) -> ir.Node | None:
    """Return the node that puts a value out, where it is of this kind."""
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type == op_type else None


def dequantizers(node: ir.Node) -> list[ir.Node | None]:
    """Return the DequantizeLinear that each input of a node comes from, or None for the input."""
    return [producer(value, "DequantizeLinear") for value in node.inputs]


def along_axis(values: np.ndarray, axis: int, dimensions: int) -> np.ndarray:
    """Shape values so that they multiply an array along one axis.

    Parameters
    ----------
    values : [n], one value for each index of the axis; or [] or [1], one for the whole array
    axis : of the array; for one value it may be an axis that the array does not have
    dimensions : of the array
    """
    if not values.ndim:
        return values
    return values.reshape([-1 if index == axis else 1 for index in range(dimensions)])


def dequantized(node: ir.Node | None) -> np.ndarray | None:
    """Return what a DequantizeLinear of a constant puts out, float32; None for any other node."""
    if node is None or node.op_type != "DequantizeLinear" or not node.inputs[0].is_initializer():
        return None
    stored, scale, zero = map(constant, node.inputs)
    axis = node.attributes.get_int("axis", 1)
    zero = along_axis(zero.astype(np.float32), axis, stored.ndim)
    return (stored.astype(np.float32) - zero) * along_axis(scale, axis, stored.ndim)


def quantized_layers(graph: ir.Graph) -> list[tuple[ir.Node, ir.Node]]:
    """List the layers that have quantized weights, each with its weights' DequantizeLinear."""
    found = []
    for node in graph:
        weights = dequantizers(node)[1] if node.op_type in LAYERS else None
        # A product of two activations has no weights, though both of its inputs are quantized.
        if weights is not None and weights.inputs[0].is_initializer():
            found.append((node, weights))
    return found


def reads_bytes_in_float(graph: ir.Graph) -> bool:
    """Tell whether a layer in float reads what was quantized."""
    for node in graph:
        if node.op_type in LAYERS:
            data, weights = dequantizers(node)[:2]
            if data is not None and weights is None:
                return True
    return False


def layers(graph: ir.Graph) -> dict[str, list[str]]:
    """Group the nodes of a prepared graph by layer, in order: layer -> names of nodes.

    A layer is a convolution or a product with weights, with all that follows up to the next one: a
    product of two activations, too. Where branches meet, the nodes after belong to the later one.
    """
    found: dict[str, list[str]] = {}
    owner: dict[ir.Node, str | None] = {}
    for node in graph:
        if is_layer(node):
            found[node.name] = []
            owner[node] = node.name
        else:
            earlier = {owner[source] for source in node.predecessors()}
            owner[node] = next((name for name in reversed(found) if name in earlier), None)
        if owner[node]:
            found[owner[node]].append(node.name)
    return found


def part(graph: ir.Graph, feeds: dict[ir.Value, np.dtype], fetches: Sequence[ir.Value]) -> bytes:
    """Cut a part out of a graph: a model that reads `feeds`, by type, and puts `fetches` out."""
    cut = ir.convenience.extract(graph, list(feeds), fetches)
    for node in cut:
        for value in node.outputs:
            value.type, value.shape = None, None
    for value, dtype in zip(cut.inputs, feeds.values(), strict=True):
        value.type, value.shape = ir.TensorType(ir.DataType.from_numpy(dtype)), None
    return ir.to_proto(ir.Model(cut, ir_version=_IR_VERSION)).SerializeToString()


def windows(
    image: np.ndarray,
    kernel: Sequence[int],
    pads: Sequence[int] = (0, 0, 0, 0),
    strides: Sequence[int] = (1, 1),
    dilations: Sequence[int] = (1, 1),
    padding: float = 0,
) -> np.ndarray:
    """Cut out what a convolution's kernel multiplies at each position.

    Parameters
    ----------
    image : [channels, height, width]
    kernel : height and width of the kernel
    pads, strides, dilations : as the attributes of Conv have them
    padding : value around the image

    Returns
    -------
    [channels, rows, columns, kernel height, kernel width], a view of the padded image
    """
    top, left, bottom, right = pads
    padded = np.pad(image, [(0, 0), (top, bottom), (left, right)], constant_values=padding)
    (height, width), (down, across) = kernel, dilations
    reach = ((height - 1) * down + 1, (width - 1) * across + 1)
    found = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(1, 2))
    return found[:, :: strides[0], :: strides[1], ::down, ::across]
