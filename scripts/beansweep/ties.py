"""Scales with which integer and float kernels round alike.

Both compute the same sum and round it to a byte, but not with the same last bit, so they part where
the sum lies next to the middle between two bytes: at a few bytes in a million. Every layer
multiplies those, until at the end of a network a third of all bytes differ and images near a
border change sides. The same happens between one machine's kernels and another's.

Sums are integers times s_x s_w, and bytes steps of s_y. Where s_y / (s_x s_w) is an odd q over an
integer, every sum is a multiple of 1/q step, and no multiple of 1/q with an odd q is nearer to a
middle than 1/(2q), which is far more than a last bit: there is nothing left to decide. Scales are
made one or two percent larger for it, never smaller, so nothing is clipped that was not.

This holds where integer kernels compute the sum. On x86 without VNNI they saturate, so there it
holds for 7-bit weights, whose pairs of products fit 16 bits (2 * 255 * 64 = 32640), and not for
8-bit ones; everywhere else it holds for both.
"""

import math

import numpy as np
import onnx_ir as ir

# Scales are counted in units of about this part of them, so none grows by more than 2 of them.
_FINENESS = 128


def avoid(graph: ir.Graph, floats: ir.Graph, layers: tuple[str, ...]) -> None:
    """Choose the scales of a quantized graph's additions and layers so that no sum lies at a tie.

    Left alone: what the quantizer's saturation has to clip at a bound of its own, weights that are
    not symmetric, and additions whose scales others have settled already.

    Parameters
    ----------
    graph : in QDQ form, biases quantized; changed in place
    floats : what it was made from, with layers of the same names
    layers : operators that multiply weights
    """
    settled = _settled(graph, floats)
    for node in graph:
        if node.op_type == "Add":
            _settle_addition(node, settled)
    originals = {node.name: node for node in floats if node.op_type in layers}
    for node in graph:
        if node.op_type in layers and node.name in originals:
            _settle_layer(node, originals[node.name])


def _settled(graph: ir.Graph, floats: ir.Graph) -> set[ir.Value]:
    """Scales that have to stay: a clip's, whose bounds are the ends of the bytes, and those of bytes
    that are read with another scale than they are written with."""
    clipped = {node.outputs[0].name for node in floats if node.op_type == "Clip" and len(node.inputs) == 3}
    quantizers = [node for node in graph if node.op_type == "QuantizeLinear"]
    return {node.inputs[1] for node in quantizers
            if node.inputs[0].name in clipped
            or any(reader.inputs[1] is not node.inputs[1] for reader in node.outputs[0].consumers())}


def _array(value: ir.Value) -> np.ndarray:
    return value.const_value.numpy()


def _store(value: ir.Value, array: np.ndarray) -> None:
    value.const_value = ir.tensor(array.astype(_array(value).dtype).reshape(_array(value).shape), name=value.name)


def _restoring(value: ir.Value | None) -> ir.Node | None:
    """The DequantizeLinear that a value comes from."""
    producer = None if value is None else value.producer()
    return producer if producer is not None and producer.op_type == "DequantizeLinear" else None


def _quantizing(value: ir.Value) -> ir.Node | None:
    """The QuantizeLinear that alone reads a value, if need be through a clip of it."""
    while len(value.uses()) == 1:
        reader = value.consumers()[0]
        if reader.op_type == "QuantizeLinear":
            return reader
        if reader.op_type not in ("Relu", "Clip"):
            return None
        value = reader.outputs[0]
    return None


def _settle_addition(node: ir.Node, settled: set[ir.Value]) -> None:
    """Make all that an addition reads and puts out multiples of one unit, and what it puts out an odd one.

    The unit is a fine part of the one scale that is settled, and the others go up to multiples.
    """
    quantizer, sources = _quantizing(node.outputs[0]), [_restoring(value) for value in node.inputs]
    if quantizer is None or None in sources:
        return
    constants = [source for source in sources if source.inputs[0].is_initializer()]
    result, read = quantizer.inputs[1], [source.inputs[1] for source in sources if source not in constants]
    fixed = [scale for scale in (result, *read) if scale in settled]
    if len(fixed) > 1 or not read or any(source.inputs[0].const_value.size > 1 for source in constants):
        return
    sizes = {scale: _array(scale).item() for scale in (result, *read)}
    anchor = fixed[0] if fixed else read[0]
    parts = math.ceil(_FINENESS * sizes[anchor] / min(sizes.values()))
    unit = sizes[anchor] / (_odd_above(parts) if anchor is result else parts)
    for scale, size in sizes.items():
        settled.add(scale)
        if scale is not anchor:
            count = math.ceil(size / unit)
            _store(scale, np.float64(unit * (_odd_above(count) if scale is result else count)))
    for source in constants:
        stored, scale, zero = (_array(value).item() for value in source.inputs)
        if stored != zero:
            _store(source.inputs[1], np.float64(round((stored - zero) * scale / unit) * unit / (stored - zero)))


def _odd_above(count: int) -> int:
    return count | 1


def _settle_layer(node: ir.Node, original: ir.Node) -> None:
    """Scale the weights of each output so that s_y / (s_x s_w) is odd, and round weights and bias anew."""
    quantizer = _quantizing(node.outputs[0])
    read, weight = (_restoring(value) for value in node.inputs[:2])
    if quantizer is None or read is None or weight is None or not weight.inputs[0].is_initializer():
        return
    stored, scale, zero = (_array(value) for value in weight.inputs)
    if stored.dtype != np.int8 or zero.any() or any(len(each.uses()) > 1 for each in weight.inputs[:2]):
        return
    step, result = (_array(each.inputs[1]).astype(np.float64) for each in (read, quantizer))
    ratio = result / (step * scale)
    # Sums of few steps to a byte have a numerator as well, so that the odd number is large enough to be near.
    parts = np.maximum(np.ceil(_FINENESS / ratio), 1)
    scale = result / step * parts / _odd_below(ratio * parts)
    _store(weight.inputs[1], scale)
    axis = weight.attributes.get_int("axis", 1)
    along = scale.reshape([-1 if each == axis else 1 for each in range(stored.ndim)]) if scale.ndim else scale
    limit = np.abs(stored.astype(int)).max()
    _store(weight.inputs[0], np.clip(np.rint(_array(original.inputs[1]) / along), -limit, limit))
    bias = _restoring(node.inputs[2]) if len(node.inputs) > 2 else None
    if bias is not None:
        unit = step * scale
        limits = np.iinfo(np.int32)
        _store(bias.inputs[0], np.clip(np.rint(_array(original.inputs[2]) / unit), limits.min, limits.max))
        _store(bias.inputs[1], unit)


def _odd_below(ratio: np.ndarray) -> np.ndarray:
    """The largest odd integers that are no larger."""
    return 2 * np.floor((ratio + 1) / 2) - 1
