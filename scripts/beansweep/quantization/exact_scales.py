"""Exact scales: integer and float kernels round alike.

Both compute the same sum and round it to a byte, but their sums differ in the last bit. So they
part where a sum lies next to the middle between two bytes, which happens to a few bytes in a
million. Every layer multiplies those, until at the end of a network a third of all bytes differ
and images near a border change sides. The same happens between the kernels of two machines.

Sums are integers times s_x s_w, and bytes are steps of s_y. Where s_y / (s_x s_w) is an odd q over
an integer, every sum is a multiple of 1/q step. No multiple of 1/q with an odd q is nearer to a
middle than 1/(2q), which is far more than a last bit: both kernels round to the same side. Scales
are made one or two percent larger for it, never smaller, so nothing is clipped that was not.

This holds where integer kernels compute the sum. On x86 without VNNI they saturate, so there it
holds for 7-bit weights, where a pair of products fits 16 bits (2 * 255 * 64 = 32640), and not for
8-bit ones. Everywhere else it holds for both.

What a curve such as SiLU makes of a byte is one of 256 values. Processors approximate the curve in
different ways, so the scale of what it puts out is one that has no value near a middle.
"""

import math

import numpy as np
import onnx_ir as ir

from beansweep.models import onnx_session
from beansweep.quantization import onnx_graph
from beansweep.quantization.onnx_graph import LAYERS, along_axis, constant, dequantizers

# Functions of one value that processors approximate in different ways.
CURVES = {
    "Elu",
    "Erf",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "QuickGelu",
    "Sigmoid",
    "Softplus",
    "Tanh",
}

# Scales are counted in units of about this part of them, so none grows by more than 2 of them.
_FINENESS = 128
# Least distance from a middle, in steps, of what a curve makes of a byte. Approximations of a curve
# are some 1e-4 steps apart at the largest byte.
_MARGIN = 2e-3
# The scale of a curve's bytes grows by no more than so many times this.
_GROWTHS, _GROWTH = 100, 2e-4


def choose(quantized: ir.Graph, floats: ir.Graph) -> None:
    """Choose the scales of additions, curves and layers so that nothing lies between two bytes.

    Left alone are bytes that a quantizer's saturation clips at a bound of its own, weights that are
    not symmetric, and additions with more than one scale that is fixed already.

    Parameters
    ----------
    quantized : in QDQ form, biases quantized; changed in place
    floats : what it was made from, with layers of the same names
    """
    fixed = _fixed_scales(quantized, floats)
    for node in quantized:
        if node.op_type == "Add":
            _choose_for_addition(node, fixed)
    for node in quantized:
        if node.op_type == "QuantizeLinear" and node.inputs[1] not in fixed:
            _choose_for_curve(node)
    originals = {node.name: node for node in floats if node.op_type in LAYERS}
    for node in quantized:
        if node.op_type in LAYERS and node.name in originals:
            _choose_for_layer(node, originals[node.name])


def _fixed_scales(quantized: ir.Graph, floats: ir.Graph) -> set[ir.Value]:
    """Find the scales that have to stay.

    A clip's scale stays, because the clip's bounds are the ends of the bytes. So does the scale of
    bytes that are read with another scale than they are written with.
    """
    clipped = set()
    for node in floats:
        if node.op_type == "Clip" and len(node.inputs) == 3:
            clipped.add(node.outputs[0].name)
    fixed = set()
    for node in quantized:
        if node.op_type == "QuantizeLinear":
            scale, readers = node.inputs[1], node.outputs[0].consumers()
            read_otherwise = any(reader.inputs[1] is not scale for reader in readers)
            if node.inputs[0].name in clipped or read_otherwise:
                fixed.add(scale)
    return fixed


def _store(value: ir.Value, array: np.ndarray | np.generic) -> None:
    """Replace a constant's array; type, shape and name stay."""
    before = constant(value)
    array = array.astype(before.dtype).reshape(before.shape)
    value.const_value = ir.tensor(array, name=value.name)


def quantizer_after(value: ir.Value) -> ir.Node | None:
    """Return the QuantizeLinear that alone reads a value, directly or through a clip of it."""
    while len(value.uses()) == 1:
        reader = value.consumers()[0]
        if reader.op_type == "QuantizeLinear":
            return reader
        if reader.op_type not in ("Relu", "Clip"):
            return None
        value = reader.outputs[0]
    return None


def _choose_for_addition(node: ir.Node, fixed: set[ir.Value]) -> None:
    """Make all scales of an addition multiples of one unit, and the result's an odd multiple.

    The unit is a fine part of the one scale that is fixed, and the others go up to multiples.

    Parameters
    ----------
    fixed : scales that have to stay; the scales chosen here are added
    """
    quantizer = quantizer_after(node.outputs[0])
    operands = dequantizers(node)
    if quantizer is None or None in operands:
        return
    constants = [operand for operand in operands if operand.inputs[0].is_initializer()]
    if any(constant(operand.inputs[0]).size > 1 for operand in constants):
        return
    result = quantizer.inputs[1]
    read = [operand.inputs[1] for operand in operands if operand not in constants]
    fixed_here = [scale for scale in (result, *read) if scale in fixed]
    if len(fixed_here) > 1 or not read:
        return
    anchor = fixed_here[0] if fixed_here else read[0]
    unit = _put_on_one_unit((result, *read), anchor)
    fixed.update((result, *read))
    for operand in constants:
        _put_constant_on(operand, unit)


def _put_on_one_unit(scales: tuple[ir.Value, ...], anchor: ir.Value) -> float:
    """Raise scales to multiples of one unit, an odd multiple for the first; return the unit.

    Parameters
    ----------
    anchor : the one of them that stays
    """
    result = scales[0]
    sizes = {scale: constant(scale).item() for scale in scales}
    parts = math.ceil(_FINENESS * sizes[anchor] / min(sizes.values()))
    unit = sizes[anchor] / (_odd_above(parts) if anchor is result else parts)
    for scale, size in sizes.items():
        if scale is not anchor:
            count = math.ceil(size / unit)
            _store(scale, np.float64(unit * (_odd_above(count) if scale is result else count)))
    return unit


def _put_constant_on(dequantize: ir.Node, unit: float) -> None:
    """Move a constant, a single number in INT8, to the nearest multiple of a unit."""
    stored, scale, zero = (constant(value).item() for value in dequantize.inputs)
    steps = stored - zero
    if steps:
        _store(dequantize.inputs[1], np.float64(round(steps * scale / unit) * unit / steps))


def _odd_above(count: int) -> int:
    return count | 1


def bytes_behind(value: ir.Value) -> ir.Node | None:
    """Return the DequantizeLinear that a value is a curve of, or None where it is anything else.

    A product of the curve and what it is of is one more: x * Sigmoid(x) is SiLU.
    """
    sources, curves, pending = set(), 0, [value]
    while pending:
        node = pending.pop().producer()
        if node is None or node.op_type not in CURVES | {"Mul", "DequantizeLinear"}:
            return None
        if node.op_type == "DequantizeLinear":
            sources.add(node)
        else:
            curves += node.op_type in CURVES
            pending.extend(read for read in node.inputs if constant(read) is None)
    return sources.pop() if curves and len(sources) == 1 else None


def _choose_for_curve(quantize: ir.Node) -> None:
    """Raise the scale of what a curve puts out until no value of it is near a middle."""
    source = bytes_behind(quantize.inputs[0])
    if source is None or source.inputs[0].is_initializer():
        return
    values = _values_of_bytes(source, quantize.inputs[0])
    scale, zero = (constant(value) for value in quantize.inputs[1:])
    limits = np.iinfo(zero.dtype)
    best, chosen = 0.0, float(scale)
    for growth in range(_GROWTHS):
        larger = float(scale) * (1 + growth * _GROWTH)
        steps = values / np.float64(np.float32(larger)) + zero
        # Beyond the last middle everything is clipped alike.
        kept = steps[(steps > limits.min) & (steps < limits.max)]
        nearest = np.abs(kept - np.floor(kept) - 0.5).min(initial=0.5)
        if nearest > best:
            best, chosen = nearest, larger
        if best >= _MARGIN:
            break
    _store(quantize.inputs[1], np.float64(chosen))


def _values_of_bytes(source: ir.Node, value: ir.Value) -> np.ndarray:
    """Compute what a graph makes of every byte that a DequantizeLinear may read: float64 [256]."""
    scale, zero = (constant(constant_value) for constant_value in source.inputs[1:])
    limits = np.iinfo(zero.dtype)
    stored = np.arange(limits.min, limits.max + 1) - np.int64(zero)
    part = onnx_graph.part(source.graph, {source.outputs[0]: np.dtype(np.float32)}, [value])
    session = onnx_session.create(part, float_kernels=True)
    found = session.run(None, {source.outputs[0].name: (stored * scale).astype(np.float32)})[0]
    return found.astype(np.float64)


def _choose_for_layer(layer: ir.Node, original: ir.Node) -> None:
    """Scale the weights of each output so that s_y / (s_x s_w) is odd, and round them again.

    Parameters
    ----------
    original : the same layer in float
    """
    quantizer = quantizer_after(layer.outputs[0])
    read, weight, *bias = dequantizers(layer)
    if quantizer is None or read is None or weight is None or not _is_own_and_symmetric(weight):
        return
    stored, scale, _ = map(constant, weight.inputs)
    step = constant(read.inputs[1]).astype(np.float64)
    result = constant(quantizer.inputs[1]).astype(np.float64)
    ratio = result / (step * scale)
    # Where a byte is a sum of few steps, the ratio has a numerator as well: so the odd number is
    # large enough for one to be near.
    parts = np.maximum(np.ceil(_FINENESS / ratio), 1)
    scale = result / step * parts / _odd_below(ratio * parts)
    along = along_axis(scale, weight.attributes.get_int("axis", 1), stored.ndim)
    limit = np.abs(stored.astype(int)).max()
    rounded = np.clip(np.rint(constant(original.inputs[1]) / along), -limit, limit)
    _store(weight.inputs[0], rounded)
    _store(weight.inputs[1], scale)
    if bias and bias[0] is not None:
        limits = np.iinfo(np.int32)
        steps = np.rint(constant(original.inputs[2]) / (step * scale))
        _store(bias[0].inputs[0], np.clip(steps, limits.min, limits.max))
        _store(bias[0].inputs[1], step * scale)


def _is_own_and_symmetric(weight: ir.Node) -> bool:
    """Tell whether a DequantizeLinear is of signed symmetric weights that one layer alone reads."""
    stored, scale, zero = weight.inputs
    if not stored.is_initializer() or len(stored.uses()) > 1 or len(scale.uses()) > 1:
        return False
    return constant(stored).dtype == np.int8 and not constant(zero).any()


def _odd_below(ratio: np.ndarray) -> np.ndarray:
    """Return the largest odd integers that are no larger."""
    return 2 * np.floor((ratio + 1) / 2) - 1
