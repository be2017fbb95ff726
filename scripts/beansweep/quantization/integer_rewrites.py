"""Rewrites of a float ONNX graph into what ONNX Runtime computes with fast integer kernels.

Each keeps the network's function, apart from rounding, and leaves alone what it does not
recognise. What they are for was found with `scripts/tools/operator_profile.py`:

- a `ReduceMean` over height and width has no integer kernel; `GlobalAveragePool` has;
- a gate, `HardSigmoid` of a convolution, is that convolution rescaled and clipped to [0, 1], and a
  quantizer's own saturation is the clip: nothing is left to compute;
- `HardSwish` becomes an integer addition and a multiplication in the same way;
- `SiLU` becomes one fused float kernel (`QuickGelu`): faster than an integer look-up and an
  integer multiplication, and exact;
- integer depthwise kernels work on 16 channels at a time and fall to a slow path for any
  remainder, and an integer convolution of fewer than 4 channels copies its input 9 times first:
  channels of zeros fill both up;
- one range for a whole activation is wasted on channels that use little of it; between
  convolutions, channels are scaled nearer to each other and the weights that read them undo it
  (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction",
  section 4.1, with the ranges of activations);
- the first layers, as long as they are narrow, are no faster in integers, and all that follows
  reads what they round: this stem stays in float, as it is (`stem`).
"""

from itertools import takewhile
from pathlib import Path

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import pattern, rewrite

from beansweep.common.errors import UserError
from beansweep.models import onnx_session
from beansweep.quantization import activations
from beansweep.quantization.qdq import LAYERS

# Outputs, and products in a sum, of a layer that integer kernels do not make faster: they compute 16
# outputs of 4 products at a time, and quantizing what comes in and out takes as long.
_NARROW = 32
_DEPTHWISE_CHANNELS = 16
_IMAGE_CHANNELS = 4
# Name of the node that adds them; in float it is one copy, in INT8 it would be three operators.
FILL_IMAGE = "fill_image"
# Operators that treat every channel by itself: value in, value out.
_CHANNELWISE = {
    "Relu",
    "LeakyRelu",
    "HardSwish",
    "HardSigmoid",
    "Sigmoid",
    "Clip",
    "QuickGelu",
    "GlobalAveragePool",
}
# Channels are scaled up by no more than this.
_LARGEST_SCALE = 64
# HardSwish is not linear, so scaled channels cost it an operator: only where half of the channels
# use less than this part of the range.
_POORLY_USED = 0.25
# Largest difference from the original graph, as a share of the outputs' range.
_TOLERANCE = 1e-4


def integer_graph(model: Path, inputs: np.ndarray, output: Path) -> None:
    """Rewrite a float classifier so that integer kernels serve it.

    Parameters
    ----------
    inputs : float32 [n, 3, size, size], images that show how much of its range each channel uses

    Raises
    ------
    UserError
        The rewritten graph's outputs differ from the original's.
    """
    graph = ir.load(model)
    graph = rewrite(
        graph,
        pattern_rewrite_rules=[_GlobalPooling.rule(), _HardSwishFromParts.rule(), _Silu.rule()],
    )
    _give_biases(graph.graph)
    kept = {node.inputs[1].name for node in stem(graph.graph)}
    _fill_channels(graph.graph)
    _equalize(graph, inputs, kept)
    graph = rewrite(graph, pattern_rewrite_rules=[_Gate.rule(), _IntegerHardSwish.rule(kept)])
    if not kept:
        _fill_image(graph.graph)
    graph.opset_imports.setdefault("com.microsoft", 1)
    ir.save(graph, output)
    _check_same(model, output, inputs)


def stem(graph: ir.Graph) -> list[ir.Node]:
    """A network's first layers, up to the first that is wide: what stays in float.

    None where no layer is wide: such a network would not be quantized at all.
    """
    layers = [node for node in graph if node.op_type in LAYERS]
    narrow = list(takewhile(_is_narrow, layers))
    return narrow if len(narrow) < len(layers) else []


def _is_narrow(layer: ir.Node) -> bool:
    weight = _constant(layer.inputs[1])
    return weight is not None and len(weight) <= _NARROW and weight[0].size <= _NARROW


def _check_same(model: Path, other: Path, inputs: np.ndarray) -> None:
    """Compare two models on images."""
    expected, found = (
        onnx_session.logits(onnx_session.create(path), inputs) for path in (model, other)
    )
    difference, spread = np.abs(expected - found).max(), np.ptp(expected)
    if not difference <= _TOLERANCE * spread:
        raise UserError(
            f"{model}: rewriting its graph for integer kernels changed its outputs by {difference:.2g}: "
            "set integer_rewrites: false in the variants of this backbone, and report the backbone's name"
        )


def _constant(value: ir.Value | None) -> np.ndarray | None:
    """A constant's array, or None for what is computed or fed."""
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def _scalar(op, value: float) -> ir.Value:
    return op.Constant(value=ir.tensor(np.float32(value)))


def _matched(condition: bool, why: str) -> pattern.MatchResult:
    result = pattern.MatchResult()
    return result if condition else result.fail(why)


def _hard_sigmoid(node: ir.Node) -> tuple[float, float]:
    """Slope and offset of a HardSigmoid."""
    return node.attributes.get_float("alpha", 0.2), node.attributes.get_float("beta", 0.5)


class _GlobalPooling(pattern.RewriteRuleClassBase):
    """ReduceMean over height and width, dimensions kept -> GlobalAveragePool."""

    def pattern(self, op, x, axes):
        return op.ReduceMean(x, axes, _outputs=["y"], _allow_other_attributes=True)

    def check(self, context, x, axes, y, **_):
        found = _constant(axes)
        return _matched(
            found is not None
            and x.shape is not None
            and len(x.shape) == 4
            and sorted(int(axis) % 4 for axis in found) == [2, 3]
            and y.producer().attributes.get_int("keepdims", 1) == 1,
            "not a global average pooling",
        )

    def rewrite(self, op, x, **_):
        return op.GlobalAveragePool(x)


class _HardSwishFromParts(pattern.RewriteRuleClassBase):
    """x * HardSigmoid(x) with slope 1/6 and offset 1/2 -> HardSwish(x)."""

    def pattern(self, op, x):
        return op.Mul(x, op.HardSigmoid(x, _outputs=["gate"], _allow_other_attributes=True))

    def check(self, context, x, gate, **_):
        return _matched(
            np.allclose(_hard_sigmoid(gate.producer()), (1 / 6, 0.5)), "another HardSigmoid"
        )

    def rewrite(self, op, x, **_):
        return op.HardSwish(x)


class _Silu(pattern.RewriteRuleClassBase):
    """x * Sigmoid(x) -> QuickGelu(x), slope 1."""

    def pattern(self, op, x):
        return op.Mul(x, op.Sigmoid(x))

    def rewrite(self, op, x, **_):
        return op.QuickGelu(x, alpha=1.0, _domain="com.microsoft")


class _Gate(pattern.RewriteRuleClassBase):
    """HardSigmoid(Conv(x)) -> Clip(Conv'(x), 0, 1): slope and offset go into weights and bias."""

    def pattern(self, op, x, weight, bias):
        return op.HardSigmoid(
            op.Conv(x, weight, bias, _outputs=["linear"], _allow_other_attributes=True),
            _outputs=["gate"],
            _allow_other_attributes=True,
        )

    def check(self, context, weight, bias, linear, **_):
        return _matched(
            _constant(weight) is not None
            and _constant(bias) is not None
            and len(linear.uses()) == 1,
            "not a convolution of its own",
        )

    def rewrite(self, op, x, weight, bias, linear, gate, **_):
        slope, offset = (np.float32(value) for value in _hard_sigmoid(gate.producer()))
        scaled = op.initializer(ir.tensor(_constant(weight) * slope), name=f"{weight.name}_gate")
        shifted = op.initializer(
            ir.tensor(_constant(bias) * slope + offset), name=f"{bias.name}_gate"
        )
        linear = op.Conv(x, scaled, shifted, **linear.producer().attributes)
        return op.Clip(linear, _scalar(op, 0), _scalar(op, 1))


class _IntegerHardSwish(pattern.RewriteRuleClassBase):
    """HardSwish(x) -> r * clip(r + 3, 0, 6) / 6 with r = max(x, -3).

    Quantized, both clips are the saturation of a quantizer, and the sixth is a matter of reading
    the gate's bytes with another scale (see `beansweep.qdq`). The lower clip changes nothing,
    HardSwish is 0 below -3, and leaves the whole range of a byte to what matters.
    """

    def __init__(self, stem: set[str]):
        super().__init__()
        self._stem = stem

    def pattern(self, op, x):
        return op.HardSwish(x)

    def check(self, context, x, **_):
        return _matched(not _ends_stem(x, self._stem), "a layer that stays in float")

    def rewrite(self, op, x, **_):
        rectified = op.Clip(x, _scalar(op, -3))
        gate = op.Clip(op.Add(rectified, _scalar(op, 3)), _scalar(op, 0), _scalar(op, 6))
        return op.Mul(rectified, op.Mul(gate, _scalar(op, 1 / 6)))


def _ends_stem(value: ir.Value, stem: set[str]) -> bool:
    """Whether a layer that stays in float puts a value out."""
    layer = value.producer()
    return layer is not None and layer.op_type == "Conv" and layer.inputs[1].name in stem


def _give_biases(graph: ir.Graph) -> None:
    """Give every convolution a bias: the exporter leaves out one of zeros, and all that follows reckons with one."""
    for node in graph:
        if node.op_type == "Conv" and len(node.inputs) == 2 and node.inputs[1].is_initializer():
            zeros = np.zeros(node.inputs[1].shape[0], np.float32)
            bias = ir.Value(
                name=f"{node.outputs[0].name}_bias",
                const_value=ir.tensor(zeros),
                shape=ir.Shape(zeros.shape),
                type=ir.TensorType(ir.DataType.FLOAT),
            )
            graph.register_initializer(bias)
            node.resize_inputs(3)
            node.replace_input_with(2, bias)


def _fill_channels(graph: ir.Graph) -> None:
    """Add channels of zeros around depthwise convolutions until they are multiples of 16."""
    for node in list(graph):
        if node.op_type == "Conv" and _group(node) > 1 and node.inputs[1].shape[0] == _group(node):
            missing = -_group(node) % _DEPTHWISE_CHANNELS
            edits = _channel_edits(node) if missing else None
            for value, axis in edits or {}:
                _pad(value, axis, missing)
            for each in {value.consumers()[0] for value, axis in edits or {} if axis == 0}:
                if _group(each) > 1:
                    each.attributes["group"] = ir.AttrInt64("group", _group(each) + missing)


def _group(conv: ir.Node) -> int:
    return conv.attributes.get_int("group", 1)


def _channel_edits(depthwise: ir.Node) -> dict[tuple[ir.Value, int], None] | None:
    """All weights, each with the axis, that share the channels of a depthwise convolution.

    None where they reach something that is not understood. The activations between them lose
    their shapes, to be inferred anew.
    """
    edits, values, waiting = {}, set(), [depthwise.inputs[0]]
    while waiting:
        value = waiting.pop()
        if value in values:
            continue
        values.add(value)
        if value.is_graph_input() or value.is_graph_output():
            return None
        for node in [value.producer(), *value.consumers()]:
            if node.op_type == "Conv":
                as_output = value is node.outputs[0]
                if _group(node) > 1 and _group(node) != node.inputs[1].shape[0]:
                    return None
                if _group(node) > 1:
                    waiting += [node.inputs[0], node.outputs[0]]
                if _group(node) > 1 or as_output:
                    edits |= {(each, 0): None for each in node.inputs[1:] if each is not None}
                else:
                    edits[node.inputs[1], 1] = None
            elif node.op_type in _CHANNELWISE:
                waiting += [node.inputs[0], node.outputs[0]]
            elif node.op_type in ("Mul", "Add"):
                constants = [_constant(each) for each in node.inputs]
                if any(each is not None and each.size > 1 for each in constants):
                    return None
                waiting += [
                    each
                    for each, known in zip(node.inputs, constants, strict=True)
                    if known is None
                ]
                waiting.append(node.outputs[0])
            else:
                return None
    if any(not value.is_initializer() or len(value.uses()) != 1 for value, _ in edits):
        return None
    for value in values:
        value.shape = None
    return edits


def _pad(weight: ir.Value, axis: int, missing: int) -> None:
    """Add zeros at the end of one axis of an initializer."""
    array = weight.const_value.numpy()
    array = np.pad(array, [(0, missing if axis == each else 0) for each in range(array.ndim)])
    weight.const_value = ir.tensor(array, name=weight.name)
    weight.shape = ir.Shape(array.shape)


def _fill_image(graph: ir.Graph) -> None:
    """Add channels of zeros to the image, and to the weights of a first convolution that reads it alone."""
    image = graph.inputs[0]
    readers = image.consumers()
    if len(readers) != 1 or readers[0].op_type != "Conv" or _group(readers[0]) > 1:
        return
    conv, weight = readers[0], readers[0].inputs[1]
    missing = _IMAGE_CHANNELS - weight.shape[1]
    if missing <= 0 or not weight.is_initializer() or len(weight.uses()) != 1:
        return
    _pad(weight, 1, missing)
    pads = ir.Value(
        name="image_pads", const_value=ir.tensor(np.array([0, 0, 0, 0, 0, missing, 0, 0]))
    )
    graph.register_initializer(pads)
    pad = ir.node("Pad", [image, pads], name=FILL_IMAGE)
    graph.insert_before(conv, pad)
    conv.replace_input_with(0, pad.outputs[0])


def _equalize(model: ir.Model, inputs: np.ndarray, stem: set[str]) -> None:
    """Scale the channels between convolutions so that they share a range better; not within the stem."""
    links = [
        link
        for node in list(model.graph)
        if node.op_type == "Conv"
        and (link := _link_after(node))
        and not all(weight.name in stem for weight, _ in link[2])
    ]
    largest = _channel_maxima(model, [source for _, source, _ in links], inputs)
    for (conv, source, readers), maxima in zip(links, largest, strict=True):
        activation = source.producer()
        if activation.op_type == "HardSwish":
            # However little a channel puts out, what goes in matters from -3 on.
            maxima = np.maximum(maxima, 3)
        scale = _balance(maxima, readers)
        if activation.op_type == "HardSwish":
            if np.median(scale) >= _POORLY_USED or conv.inputs[1].name in stem:
                continue
            _scaled_hard_swish(model.graph, activation, scale, name=conv.inputs[1].name)
        for value in conv.inputs[1:]:
            _scale(value, 0, 1 / scale)
        for weight, axis in readers:
            _scale(weight, axis, scale)


def _link_after(conv: ir.Node) -> tuple[ir.Node, ir.Value, list[tuple[ir.Value, int]]] | None:
    """This convolution, what is read of it (its activation's output, if it has one), and all weights
    that read it, each with the axis of the channels; None where scaling would change anything else."""
    source = conv.outputs[0]
    following = source.consumers()
    if len(source.uses()) == 1 and following[0].op_type in ("Relu", "HardSwish"):
        source = following[0].outputs[0]
    readers = _reading_weights(source)
    values = [*conv.inputs[1:], *(weight for weight, _ in readers or [])]
    if (
        not readers
        or len(conv.inputs) < 3
        or any(not each.is_initializer() or len(each.uses()) > 1 for each in values)
    ):
        return None
    through_hard_swish = source.producer().op_type == "HardSwish"
    return (
        None
        if through_hard_swish and any(axis == 1 for _, axis in readers)
        else (conv, source, readers)
    )


def _reading_weights(value: ir.Value) -> list[tuple[ir.Value, int]] | None:
    """Weights that read a value, directly or through pooling or a gate; None where anything else does."""
    if value.is_graph_output():
        return None
    found = []
    for node in value.consumers():
        if node.op_type == "Conv" and value is node.inputs[0]:
            more = [(node.inputs[1], 0 if _group(node) > 1 else 1)]
        elif node.op_type == "GlobalAveragePool" or (
            node.op_type == "Mul" and node.inputs[0] is not node.inputs[1]
        ):
            more = _reading_weights(node.outputs[0])
        else:
            more = None
        if more is None:
            return None
        found += [each for each in more if each not in found]
    return found


def _balance(maxima: np.ndarray, readers: list[tuple[ir.Value, int]]) -> np.ndarray:
    """What to divide each channel by, at most 1.

    Depthwise weights have a scale for each channel, so the activations get it all. Other weights
    have one for all the channels they read: the burden is shared, as in Xiao et al. 2023
    ("SmoothQuant").
    """
    weights = [np.abs(weight.const_value.numpy()) for weight, axis in readers if axis == 1]
    scale = maxima.astype(np.float64)
    if weights:
        scale = np.sqrt(
            scale
            / np.maximum(np.max([each.max(axis=(0, 2, 3)) for each in weights], axis=0), 1e-12)
        )
    scale = np.where(maxima > 0, scale / max(scale[maxima > 0].max(initial=0), 1e-12), 1)
    return np.maximum(scale, 1 / _LARGEST_SCALE).astype(np.float32)


def _channel_maxima(
    model: ir.Model, values: list[ir.Value], inputs: np.ndarray
) -> list[np.ndarray]:
    """Largest magnitude of each channel of some [n, channels, height, width] values."""
    names = [value.name for value in values]
    found = [
        [np.abs(each[name]).max(axis=(0, 2, 3)) for name in names]
        for each in activations.of(ir.to_proto(model), names, inputs)
    ]
    return [np.max(each, axis=0) for each in zip(*found, strict=True)]


def _scale(weight: ir.Value, axis: int, scale: np.ndarray) -> None:
    """Multiply a weight or bias along one axis."""
    array = weight.const_value.numpy()
    array = array * scale.reshape([-1 if each == axis else 1 for each in range(array.ndim)])
    weight.const_value = ir.tensor(array, name=weight.name)


def _scaled_hard_swish(graph: ir.Graph, activation: ir.Node, scale: np.ndarray, name: str) -> None:
    """HardSwish of channels that come divided by `scale`, put out divided by it as well.

    y / s = x / s * clip(x + 3, 0, 6) / 6: the gate needs x itself, which a depthwise 1x1
    convolution restores.
    """

    def constant(suffix: str, array: np.ndarray) -> ir.Value:
        value = ir.Value(
            name=f"{name.removesuffix('.weight')}.{suffix}",
            const_value=ir.tensor(array),
            shape=ir.Shape(array.shape),
            type=ir.TensorType(ir.DataType.FLOAT),
        )
        graph.register_initializer(value)
        return value

    # HardSwish is 0 below -3, whichever channel it is, so what lies lower needs no part of the range.
    rectified = ir.node(
        "Clip", [activation.inputs[0], constant("floor", np.float32(-3 / scale.min()))]
    )
    scaled = rectified.outputs[0]
    weight = constant("gate.weight", scale.reshape(-1, 1, 1, 1))
    bias = constant("gate.bias", np.full_like(scale, 3))
    bounds = [
        constant(f"gate.{end}", np.float32(value)) for end, value in (("low", 0), ("high", 6))
    ]
    restored = ir.node(
        "Conv", [scaled, weight, bias], {"group": scale.size, "kernel_shape": [1, 1]}
    )
    gate = ir.node("Clip", [restored.outputs[0], *bounds])
    sixth = ir.node("Mul", [gate.outputs[0], constant("gate.sixth", np.float32(1 / 6))])
    product = ir.node("Mul", [scaled, sixth.outputs[0]])
    graph.insert_before(activation, [rectified, restored, gate, sixth, product])
    activation.outputs[0].replace_all_uses_with(product.outputs[0])
    graph.remove(activation, safe=True)
