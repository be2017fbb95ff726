"""Rewrites of a float ONNX graph into what ONNX Runtime computes with fast integer kernels.

Each rewrite keeps the network's function, apart from rounding, and leaves alone what it does not
recognise. One that does not fit a network is undone by itself. `scripts/tools/operator_profile.py`
shows what each operator costs:

- a `ReduceMean` over height and width has no integer kernel; `GlobalAveragePool` has;
- a gate, `HardSigmoid` of a convolution, is that convolution rescaled and clipped to [0, 1]; the
  clip is a quantizer's own saturation, so nothing is left to compute;
- `HardSwish` becomes an integer addition and a multiplication in the same way;
- `SiLU` becomes one fused float kernel (`QuickGelu`): faster than an integer look-up and an
  integer multiplication, and exact;
- channels of zeros fill up depthwise convolutions and the image (see `channel_padding`);
- channels are scaled nearer to each other (see `cross_layer_equalization`).

The first layers, as long as they are narrow, stay in float as they are (see `stem`).
"""

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import cast

import numpy as np
import onnx
import onnx_ir as ir
import onnxscript.rewriter
from onnxscript.rewriter import pattern

from beansweep.common import memory
from beansweep.models import onnx_session
from beansweep.quantization import channel_padding, cross_layer_equalization, onnx_graph
from beansweep.quantization import stem as float_stem
from beansweep.quantization.onnx_graph import add_constant, constant

# Largest difference from the original graph, as a share of the outputs' range.
_TOLERANCE = 1e-4

# A change of a model in place, or a rule that makes another model of it.
Step = Callable[[ir.Model], None] | pattern.RewriteRule


def rewrite(model: ir.Model, inputs: np.ndarray) -> tuple[ir.Model, list[str]]:
    """Rewrite a float classifier so that integer kernels serve it.

    Where all rewrites together do not leave the outputs what they were, each is tried by itself,
    and only those that do are kept.

    Parameters
    ----------
    model : may be changed
    inputs : float32 [n, 3, size, size], images that show how much of its range each channel uses

    Returns
    -------
    The rewritten model, and the names of the rewrites that did not fit.
    """
    original = ir.to_proto(model)
    expected = _logits(original, inputs)
    steps = _steps(model.graph, inputs)
    result, undone = _applied(list(steps.values()), model), []
    if result is None or not _same(expected, result, inputs):
        result = onnx_graph.from_proto(original)
        for name, step in steps.items():
            changed = _applied([step], result.clone())
            if changed is not None and _same(expected, changed, inputs):
                result = changed
            else:
                undone.append(name)
    result.graph.opset_imports.setdefault("com.microsoft", 1)
    return result, undone


def _steps(graph: ir.Graph, inputs: np.ndarray) -> dict[str, Step]:
    """List the rewrites by name, in their order."""
    kept = {layer.inputs[1].name for layer in float_stem.of(graph)}

    def equalize(model: ir.Model) -> None:
        cross_layer_equalization.equalize(model, inputs, kept)

    steps: dict[str, Step] = {
        "global average pooling": _GlobalPooling.rule(),
        "HardSwish in one operator": _HardSwishFromParts.rule(),
        "SiLU in one operator": _Silu.rule(),
        "biases of zeros": _give_biases,
        "padding of depthwise channels": channel_padding.pad_depthwise,
        "cross-layer equalization": equalize,
        "gates as convolutions": _Gate.rule(),
        "HardSwish in integers": _IntegerHardSwish.rule(kept),
    }
    if not kept:
        steps["padding of the image"] = channel_padding.pad_image
    return steps


def _applied(steps: list[Step], model: ir.Model) -> ir.Model | None:
    """Apply rewrites in order, neighbouring rules in one pass.

    Returns
    -------
    None where one meets what it cannot handle; the model may be changed all the same.
    """
    try:
        for is_rule, some in groupby(steps, lambda step: isinstance(step, pattern.RewriteRule)):
            if is_rule:
                rules = cast(Iterator[pattern.RewriteRule], some)
                model = onnxscript.rewriter.rewrite(model, pattern_rewrite_rules=list(rules))
            else:
                for step in cast(Iterator[Callable[[ir.Model], None]], some):
                    step(model)
    # Whatever it is, in a graph of a kind that nobody tried: the graph stays as it was.
    except Exception as error:
        if memory.ran_out(error):
            raise
        print(f"an integer rewrite was given up: {error!r}", flush=True)
        return None
    return model


def _same(expected: np.ndarray, changed: ir.Model, inputs: np.ndarray) -> bool:
    """Tell whether a changed model runs and puts out what is expected, float32 [n, classes]."""
    try:
        found = _logits(ir.to_proto(changed), inputs)
    # ONNX Runtime's errors have no other class in common.
    except Exception as error:
        if memory.ran_out(error):
            raise
        print(f"a rewritten graph does not run: {error!r}", flush=True)
        return False
    if found.shape != expected.shape:
        return False
    return bool(np.abs(expected - found).max() <= _TOLERANCE * np.ptp(expected))


def _logits(proto: onnx.ModelProto, inputs: np.ndarray) -> np.ndarray:
    return onnx_session.logits(onnx_session.create(proto.SerializeToString()), inputs)


def _give_biases(model: ir.Model) -> None:
    """Give every convolution a bias, which all other rewrites expect.

    The exporter leaves out a bias of zeros.
    """
    for node in model.graph:
        if node.op_type == "Conv" and len(node.inputs) == 2 and node.inputs[1].is_initializer():
            zeros = np.zeros(len(constant(node.inputs[1])), np.float32)
            bias = add_constant(model.graph, f"{node.outputs[0].name}_bias", zeros)
            node.resize_inputs(3)
            node.replace_input_with(2, bias)


def _scalar(op, value: float) -> ir.Value:
    return op.Constant(value=ir.tensor(np.float32(value)))


def _matched(condition: bool, why: str) -> pattern.MatchResult:
    result = pattern.MatchResult()
    return result if condition else result.fail(why)


def _hard_sigmoid(node: ir.Node) -> tuple[float, float]:
    """Return the slope and the offset of a HardSigmoid."""
    return node.attributes.get_float("alpha", 0.2), node.attributes.get_float("beta", 0.5)


def _is_of_product(value: ir.Value) -> bool:
    """Tell whether a value is a product of matrices, with a bias and moved or not: in float."""
    node = value.producer()
    while node is not None and node.op_type in ("Add", "Reshape", "Squeeze", "Transpose"):
        sources = [source.producer() for source in node.inputs if source.producer() is not None]
        node = sources[0] if len(sources) == 1 else None
    return node is not None and node.op_type == "MatMul"


class _GlobalPooling(pattern.RewriteRuleClassBase):
    """ReduceMean over height and width, dimensions kept -> GlobalAveragePool."""

    def pattern(self, op, x, axes):
        return op.ReduceMean(x, axes, _outputs=["y"], _allow_other_attributes=True)

    def check(self, context, x, axes, y, **_):
        found = constant(axes)
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
            constant(weight) is not None and constant(bias) is not None and len(linear.uses()) == 1,
            "not a convolution of its own",
        )

    def rewrite(self, op, x, weight, bias, linear, gate, **_):
        slope, offset = map(np.float32, _hard_sigmoid(gate.producer()))
        scaled = op.initializer(ir.tensor(constant(weight) * slope), name=f"{weight.name}_gate")
        shifted = op.initializer(
            ir.tensor(constant(bias) * slope + offset), name=f"{bias.name}_gate"
        )
        linear = op.Conv(x, scaled, shifted, **linear.producer().attributes)
        return op.Clip(linear, _scalar(op, 0), _scalar(op, 1))


class _IntegerHardSwish(pattern.RewriteRuleClassBase):
    """HardSwish(x) -> r * clip(r + 3, 0, 6) / 6 with r = max(x, -3).

    Quantized, both clips are the saturation of a quantizer. The sixth is a matter of reading the
    gate's bytes with another scale (see `compact`). The lower clip changes nothing, because
    HardSwish is 0 below -3, and it leaves the whole range of a byte to what matters.

    Parameters
    ----------
    stem : names of the weights that stay in float
    """

    def __init__(self, stem: set[str]):
        super().__init__()
        self._stem = stem

    def pattern(self, op, x):
        return op.HardSwish(x)

    def check(self, context, x, **_):
        layer = x.producer()
        in_stem = (
            layer is not None and layer.op_type == "Conv" and layer.inputs[1].name in self._stem
        )
        return _matched(not (in_stem or _is_of_product(x)), "what it reads is in float")

    def rewrite(self, op, x, **_):
        rectified = op.Clip(x, _scalar(op, -3))
        gate = op.Clip(op.Add(rectified, _scalar(op, 3)), _scalar(op, 0), _scalar(op, 6))
        return op.Mul(rectified, op.Mul(gate, _scalar(op, 1 / 6)))
