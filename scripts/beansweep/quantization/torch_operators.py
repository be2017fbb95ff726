"""ONNX operators as torch functions: a node's attributes give a function of its inputs."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from beansweep.common.errors import UserError

Operator = Callable[..., Tensor]


def of(op_type: str, attributes: dict) -> Operator:
    """Return the function that a node computes.

    Raises
    ------
    UserError
        The operator is not known here.
    """
    make = _OPERATORS.get(op_type)
    if make is None:
        raise _unknown(op_type)
    return make(attributes)


def _unknown(operator: str) -> UserError:
    return UserError(
        f"quantization-aware training does not know the operator {operator} of this network: "
        "take the variants with quantizer: qat out (null), or this backbone"
    )


def _convolution(attributes: dict) -> Operator:
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    options = {
        "stride": tuple(attributes.get("strides", (1, 1))),
        "groups": attributes.get("group", 1),
        "dilation": tuple(attributes.get("dilations", (1, 1))),
    }

    def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if (top, left) == (bottom, right):
            return functional.conv2d(x, weight, bias, padding=(top, left), **options)
        padded = functional.pad(x, (left, right, top, bottom))
        return functional.conv2d(padded, weight, bias, **options)

    return convolve


def _max_pooling(attributes: dict) -> Operator:
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    options = _pooling_options(attributes)

    def pool(x: Tensor) -> Tensor:
        padded = functional.pad(x, (left, right, top, bottom), value=-math.inf)
        return functional.max_pool2d(padded, **options)

    return pool


def _average_pooling(attributes: dict) -> Operator:
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    if (top, left) != (bottom, right):
        raise _unknown("AveragePool that pads one side alone")
    options = {
        **_pooling_options(attributes),
        "padding": (top, left),
        "count_include_pad": bool(attributes.get("count_include_pad", 0)),
    }
    return lambda x: functional.avg_pool2d(x, **options)


def _pooling_options(attributes: dict) -> dict:
    return {
        "kernel_size": tuple(attributes["kernel_shape"]),
        "stride": tuple(attributes.get("strides", (1, 1))),
        "ceil_mode": bool(attributes.get("ceil_mode", 0)),
    }


def _global_average_pooling(_: dict) -> Operator:
    return lambda x: x.mean((2, 3), keepdim=True)


def _mean(attributes: dict) -> Operator:
    keep = bool(attributes.get("keepdims", 1))
    return lambda x, axes: x.mean(axes.tolist(), keepdim=keep)


def _padding(_: dict) -> Operator:
    def pad(x: Tensor, pads: Tensor, value: Tensor | None = None) -> Tensor:
        before, after = pads.reshape(2, -1).tolist()
        ends: list[int] = []
        # torch lists the last axis first.
        for pair in zip(reversed(before), reversed(after), strict=True):
            ends += pair
        return functional.pad(x, ends, value=0 if value is None else float(value))

    return pad


def _matrix_product(attributes: dict) -> Operator:
    transposed = attributes.get("transB", 0)

    def multiply(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return functional.linear(x, weight if transposed else weight.T, bias)

    return multiply


def _clip(_: dict) -> Operator:
    def clip(x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
        return x.clamp(low, high)

    return clip


def _concatenation(attributes: dict) -> Operator:
    return lambda *parts: torch.cat(parts, attributes["axis"])


def _flattening(attributes: dict) -> Operator:
    return lambda x: x.flatten(attributes.get("axis", 1))


def _reshaping(_: dict) -> Operator:
    def reshape(x: Tensor, shape: Tensor) -> Tensor:
        # In ONNX, 0 stands for the size that the axis has.
        return x.reshape([size or x.shape[axis] for axis, size in enumerate(shape.tolist())])

    return reshape


def _slicing(_: dict) -> Operator:
    def slice_(
        x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor, steps: Tensor | None = None
    ) -> Tensor:
        for index, axis in enumerate(axes.tolist()):
            start, end = int(starts[index]), min(int(ends[index]), x.shape[axis])
            step = 1 if steps is None else int(steps[index])
            x = x.movedim(axis, 0)[start:end:step].movedim(0, axis)
        return x

    return slice_


def _hard_sigmoid(attributes: dict) -> Operator:
    slope, offset = attributes.get("alpha", 0.2), attributes.get("beta", 0.5)
    return lambda x: (x * slope + offset).clamp(0, 1)


def _quick_gelu(attributes: dict) -> Operator:
    slope = attributes.get("alpha", 1.702)
    return lambda x: x * torch.sigmoid(slope * x)


_OPERATORS: dict[str, Callable[[dict], Operator]] = {
    "Add": lambda _: torch.add,
    "AveragePool": _average_pooling,
    "Clip": _clip,
    "Concat": _concatenation,
    "Conv": _convolution,
    "Flatten": _flattening,
    "Gemm": _matrix_product,
    "GlobalAveragePool": _global_average_pooling,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda _: functional.hardswish,
    "MaxPool": _max_pooling,
    "Mul": lambda _: torch.mul,
    "Pad": _padding,
    "QuickGelu": _quick_gelu,
    "ReduceMean": _mean,
    "Relu": lambda _: functional.relu,
    "Reshape": _reshaping,
    "Sigmoid": lambda _: torch.sigmoid,
    "Slice": _slicing,
}
