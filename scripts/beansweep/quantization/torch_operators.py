"""ONNX operators as torch functions: a node's attributes give a function of its inputs.

Every operator computes what ONNX defines, on torch tensors with gradients; shapes are tensors of
integers here as they are there.
"""

import math
from collections.abc import Callable

import onnx
import onnx_ir as ir
import torch
from torch import Tensor
from torch.nn import functional

from beansweep.quantization import onnx_graph

# Operators with several outputs return a tuple.
Operator = Callable[..., Tensor | tuple[Tensor, ...]]

_CONVOLUTIONS = {3: functional.conv1d, 4: functional.conv2d, 5: functional.conv3d}
# By the length of kernel_shape.
_AVERAGE_POOLINGS = {
    1: functional.avg_pool1d,
    2: functional.avg_pool2d,
    3: functional.avg_pool3d,
}
_MAX_POOLINGS = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}


class Unknown(Exception):
    """An operator, or a form of it, that is not known here: its text names it."""


def of(op_type: str, attributes: dict) -> Operator:
    """Return the function that a node computes.

    Raises
    ------
    Unknown
        The operator is not known here.
    """
    if op_type in _PLAIN:
        return _PLAIN[op_type]
    if op_type not in _WITH_ATTRIBUTES:
        raise Unknown(op_type)
    if attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise Unknown(f"{op_type} with auto_pad")
    return _WITH_ATTRIBUTES[op_type](attributes)


def unknown(graph: ir.Graph) -> list[str]:
    """Name the operators of a graph, in float or in QDQ form, that are not known here."""
    found = set()
    for node in graph:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            try:
                of(node.op_type, onnx_graph.attributes(node))
            except Unknown as name:
                found.add(str(name))
    return sorted(found)


def _convolution(attributes: dict) -> Operator:
    pads = attributes.get("pads")
    groups = attributes.get("group", 1)

    def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        axes = x.ndim - 2
        before, after = _halves(pads or [0] * 2 * axes)
        options = {
            "stride": tuple(attributes.get("strides", [1] * axes)),
            "groups": groups,
            "dilation": tuple(attributes.get("dilations", [1] * axes)),
        }
        function = _CONVOLUTIONS[x.ndim]
        if before == after:
            return function(x, weight, bias, padding=before, **options)
        return function(_padded(x, before, after, 0), weight, bias, **options)

    return convolve


def _halves(pads: list[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Split ONNX's list of pads into those before and those after each axis."""
    half = len(pads) // 2
    return tuple(pads[:half]), tuple(pads[half:])


def _padded(
    x: Tensor, before: tuple[int, ...], after: tuple[int, ...], value: float, mode: str = "constant"
) -> Tensor:
    """Pad the last axes of a tensor."""
    ends: list[int] = []
    # torch lists the last axis first.
    for pair in zip(reversed(before), reversed(after), strict=True):
        ends += pair
    return functional.pad(x, ends, mode, value if mode == "constant" else None)


def _max_pooling(attributes: dict) -> Operator:
    before, after, options = _pooling_options(attributes)
    options["dilation"] = tuple(attributes.get("dilations", [1] * len(before)))
    pooling = _MAX_POOLINGS[len(before)]
    return lambda x: pooling(_padded(x, before, after, -math.inf), **options)


def _average_pooling(attributes: dict) -> Operator:
    before, after, options = _pooling_options(attributes)
    pooling = _AVERAGE_POOLINGS[len(before)]
    counted = bool(attributes.get("count_include_pad", 0))
    if before == after:
        return lambda x: pooling(x, **options, padding=before, count_include_pad=counted)
    if options["ceil_mode"]:
        raise Unknown("AveragePool that pads one side alone, with ceil_mode")

    def pool(x: Tensor) -> Tensor:
        means = pooling(_padded(x, before, after, 0), **options)
        if counted:
            return means
        ones = torch.ones_like(x[:1, :1])
        return means / pooling(_padded(ones, before, after, 0), **options)

    return pool


def _pooling_options(attributes: dict) -> tuple[tuple[int, ...], tuple[int, ...], dict]:
    """What any pooling has: the padding before and after each axis, and options for torch."""
    kernel = tuple(attributes["kernel_shape"])
    before, after = _halves(attributes.get("pads", [0] * 2 * len(kernel)))
    options = {
        "kernel_size": kernel,
        "stride": tuple(attributes.get("strides", [1] * len(kernel))),
        "ceil_mode": bool(attributes.get("ceil_mode", 0)),
    }
    return before, after, options


def _global_average_pooling(x: Tensor) -> Tensor:
    return x.mean(tuple(range(2, x.ndim)), keepdim=True)


def _reduction(function: Callable[..., Tensor]) -> Callable[[dict], Operator]:
    """Make an operator that reduces axes, which are an input or, in old graphs, an attribute."""

    def make(attributes: dict) -> Operator:
        keep = bool(attributes.get("keepdims", 1))

        def reduce(x: Tensor, axes: Tensor | None = None) -> Tensor:
            chosen = attributes.get("axes") if axes is None else axes.tolist()
            if not chosen:
                if attributes.get("noop_with_empty_axes", 0):
                    return x
                chosen = list(range(x.ndim))
            return function(x, tuple(chosen), keepdim=keep)

        return reduce

    return make


def _length(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    return torch.linalg.vector_norm(x, dim=axes, keepdim=keepdim)


def _padding(attributes: dict) -> Operator:
    modes = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
    mode = modes[attributes.get("mode", "constant")]

    def pad(
        x: Tensor, pads: Tensor, value: Tensor | None = None, axes: Tensor | None = None
    ) -> Tensor:
        before, after = [0] * x.ndim, [0] * x.ndim
        chosen = range(x.ndim) if axes is None else axes.tolist()
        for axis, *ends in zip(chosen, *_halves(pads.tolist()), strict=True):
            before[axis], after[axis] = ends
        # Other modes pad no more than the last axes.
        first = 0 if mode == "constant" else 2
        amount = 0 if value is None else float(value)
        return _padded(x, tuple(before[first:]), tuple(after[first:]), amount, mode)

    return pad


def _linear(attributes: dict) -> Operator:
    transposed = attributes.get("transB", 0)
    factors = attributes.get("alpha", 1), attributes.get("beta", 1)
    if attributes.get("transA", 0) or factors != (1, 1):
        raise Unknown("Gemm with transA, alpha or beta")

    def multiply(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return functional.linear(x, weight if transposed else weight.T, bias)

    return multiply


def _clip(x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    return x if low is None and high is None else x.clamp(low, high)


def _division(x: Tensor, y: Tensor) -> Tensor:
    integers = not (x.is_floating_point() or y.is_floating_point())
    return torch.div(x, y, rounding_mode="trunc" if integers else None)


def _concatenation(attributes: dict) -> Operator:
    return lambda *parts: torch.cat(parts, attributes["axis"])


def _flattening(attributes: dict) -> Operator:
    axis = attributes.get("axis", 1)
    return lambda x: x.reshape(math.prod(x.shape[:axis]), -1)


def _reshaping(attributes: dict) -> Operator:
    zero_is_zero = attributes.get("allowzero", 0)

    def reshape(x: Tensor, shape: Tensor) -> Tensor:
        sizes = shape.tolist()
        if not zero_is_zero:
            # 0 stands for the size that the axis has.
            sizes = [size or x.shape[axis] for axis, size in enumerate(sizes)]
        return x.reshape(sizes)

    return reshape


def _squeeze(x: Tensor, axes: Tensor | None = None) -> Tensor:
    return x.squeeze() if axes is None else x.squeeze(tuple(axes.tolist()))


def _unsqueeze(x: Tensor, axes: Tensor) -> Tensor:
    ndim = x.ndim + axes.numel()
    for axis in sorted(axis % ndim for axis in axes.tolist()):
        x = x.unsqueeze(axis)
    return x


def _expand(x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(torch.broadcast_shapes(x.shape, shape.tolist()))


def _transposition(attributes: dict) -> Operator:
    order = attributes.get("perm")
    return lambda x: x.permute(order or tuple(reversed(range(x.ndim))))


def _splitting(attributes: dict) -> Operator:
    axis = attributes.get("axis", 0)

    def split(x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
        if sizes is not None:
            return x.split(sizes.tolist(), axis)
        return x.split(-(-x.shape[axis] // attributes["num_outputs"]), axis)

    return split


def _slice(
    x: Tensor,
    starts: Tensor,
    ends: Tensor,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    chosen = list(range(len(starts))) if axes is None else axes.tolist()
    for index, axis in enumerate(chosen):
        step = 1 if steps is None else int(steps[index])
        # Python's own reading of ends beyond the axis is ONNX's as well.
        kept = range(x.shape[axis])[slice(int(starts[index]), _end(ends, index, step), step)]
        if step > 0:
            x = x.movedim(axis, 0)[kept.start : kept.stop : step].movedim(0, axis)
        else:
            x = x.index_select(axis, torch.tensor(list(kept), device=x.device))
    return x


def _end(ends: Tensor, index: int, step: int) -> int | None:
    """Read an end; one before the first element counts from the front, not from the back."""
    end = int(ends[index])
    return None if step < 0 and end < -(2**31) else end


def _gathering(attributes: dict) -> Operator:
    axis = attributes.get("axis", 0)

    def gather(x: Tensor, indices: Tensor) -> Tensor:
        size = x.shape[axis]
        flat = indices.reshape(-1).long().to(x.device) % size
        found = x.index_select(axis, flat)
        shape = [*x.shape[: axis % x.ndim], *indices.shape, *x.shape[axis % x.ndim + 1 :]]
        return found.reshape(shape)

    return gather


def _scatter(x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    return x.index_put(tuple(indices.long().to(x.device).unbind(-1)), updates)


def _shape(attributes: dict) -> Operator:
    start, end = attributes.get("start", 0), attributes.get("end")
    return lambda x: torch.tensor(x.shape[start:end], dtype=torch.int64)


def _cast(attributes: dict) -> Operator:
    kind = onnx.helper.tensor_dtype_to_np_dtype(int(attributes["to"]))
    dtype = getattr(torch, str(kind), None)
    if dtype is None:
        raise Unknown(f"Cast to {kind}")
    return lambda x: x.to(dtype)


def _constant(attributes: dict) -> Operator:
    if "value" not in attributes:
        raise Unknown("Constant that is not a tensor")
    array = torch.from_numpy(attributes["value"].numpy().copy())
    return lambda: array


def _constant_of_shape(attributes: dict) -> Operator:
    value = attributes.get("value")
    filling = torch.zeros(1) if value is None else torch.from_numpy(value.numpy().copy())
    return lambda shape: filling.reshape(()).expand(shape.tolist()).clone()


def _resizing(attributes: dict) -> Operator:
    """Resize as torch does: half_pixel, or the nearest pixel at or below.

    torch has neither ONNX's cubic filter at borders nor its regions of interest.
    """
    mode = attributes.get("mode", "nearest")
    coordinates = attributes.get("coordinate_transformation_mode", "half_pixel")
    linear = mode == "linear" and coordinates in ("half_pixel", "pytorch_half_pixel")
    nearest = mode == "nearest" and coordinates == "asymmetric"
    floors = attributes.get("nearest_mode", "round_prefer_floor") == "floor"
    if (not linear and not (nearest and floors)) or attributes.get("antialias", 0):
        raise Unknown(f"Resize ({mode}, {coordinates})")

    def resize(
        x: Tensor,
        _: Tensor | None = None,
        scales: Tensor | None = None,
        sizes: Tensor | None = None,
    ) -> Tensor:
        options = {"mode": "bilinear", "align_corners": False} if linear else {"mode": "nearest"}
        if sizes is not None:
            return functional.interpolate(x, size=sizes.tolist()[2:], **options)
        assert scales is not None
        return functional.interpolate(x, scale_factor=scales.tolist()[2:], **options)

    return resize


def _layer_normalisation(attributes: dict) -> Operator:
    axis, epsilon = attributes.get("axis", -1), attributes.get("epsilon", 1e-5)

    def normalise(x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
        return functional.layer_norm(x, x.shape[axis:], scale, bias, epsilon)

    return normalise


def _instance_normalisation(attributes: dict) -> Operator:
    epsilon = attributes.get("epsilon", 1e-5)
    return lambda x, scale, bias: functional.instance_norm(x, None, None, scale, bias, eps=epsilon)


def _batch_normalisation(attributes: dict) -> Operator:
    epsilon = attributes.get("epsilon", 1e-5)

    def normalise(x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> Tensor:
        return functional.batch_norm(x, mean, var, scale, bias, eps=epsilon)

    return normalise


def _lp_normalisation(attributes: dict) -> Operator:
    order, axis = attributes.get("p", 2), attributes.get("axis", -1)
    return lambda x: functional.normalize(x, p=order, dim=axis)


def _depth_to_space(attributes: dict) -> Operator:
    if attributes.get("mode", "DCR") != "CRD":
        raise Unknown("DepthToSpace (DCR)")
    return lambda x: functional.pixel_shuffle(x, attributes["blocksize"])


def _hard_sigmoid(attributes: dict) -> Operator:
    slope, offset = attributes.get("alpha", 0.2), attributes.get("beta", 0.5)
    return lambda x: (x * slope + offset).clamp(0, 1)


def _quick_gelu(attributes: dict) -> Operator:
    slope = attributes.get("alpha", 1.702)
    return lambda x: x * torch.sigmoid(slope * x)


# Operators that no attribute changes.
_PLAIN: dict[str, Operator] = {
    "Abs": torch.abs,
    "Add": torch.add,
    "And": torch.logical_and,
    "Ceil": torch.ceil,
    "Clip": _clip,
    "Cos": torch.cos,
    "CumSum": lambda x, axis: x.cumsum(int(axis)),
    "Div": _division,
    "Dropout": lambda x, *_: x,
    "Equal": torch.eq,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Expand": _expand,
    "Floor": torch.floor,
    "GlobalAveragePool": _global_average_pooling,
    "GlobalMaxPool": lambda x: x.amax(tuple(range(2, x.ndim)), keepdim=True),
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "HardSwish": functional.hardswish,
    "Identity": lambda x: x,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Log": torch.log,
    "MatMul": torch.matmul,
    "Mish": functional.mish,
    "Mul": torch.mul,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Or": torch.logical_or,
    "PRelu": lambda x, slope: torch.where(x < 0, x * slope, x),
    "Pow": torch.pow,
    "Range": lambda start, end, step: torch.arange(start.item(), end.item(), step.item()),
    "Reciprocal": torch.reciprocal,
    "Relu": functional.relu,
    "Round": torch.round,
    "ScatterND": _scatter,
    "Sigmoid": torch.sigmoid,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Slice": _slice,
    "Softplus": functional.softplus,
    "Softsign": functional.softsign,
    "Sqrt": torch.sqrt,
    "Squeeze": _squeeze,
    "Sub": torch.sub,
    "Tanh": torch.tanh,
    "Tile": lambda x, repeats: x.repeat(repeats.tolist()),
    "Unsqueeze": _unsqueeze,
    "Where": torch.where,
}

# Operators that attributes change: a function of the attributes that gives the operator.
_WITH_ATTRIBUTES: dict[str, Callable[[dict], Operator]] = {
    "AveragePool": _average_pooling,
    "BatchNormalization": _batch_normalisation,
    "Cast": _cast,
    "Concat": _concatenation,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Conv": _convolution,
    "DepthToSpace": _depth_to_space,
    "Einsum": lambda attributes: lambda *parts: torch.einsum(attributes["equation"], *parts),
    "Elu": lambda attributes: lambda x: functional.elu(x, attributes.get("alpha", 1.0)),
    "Flatten": _flattening,
    "Gather": _gathering,
    "Gelu": lambda attributes: (
        lambda x: functional.gelu(x, approximate=attributes.get("approximate", "none"))
    ),
    "Gemm": _linear,
    "HardSigmoid": _hard_sigmoid,
    "InstanceNormalization": _instance_normalisation,
    "LayerNormalization": _layer_normalisation,
    "LeakyRelu": lambda attributes: (
        lambda x: functional.leaky_relu(x, attributes.get("alpha", 0.01))
    ),
    "LpNormalization": _lp_normalisation,
    "MaxPool": _max_pooling,
    "Pad": _padding,
    "QuickGelu": _quick_gelu,
    "ReduceL2": _reduction(_length),
    "ReduceMax": _reduction(torch.amax),
    "ReduceMean": _reduction(torch.mean),
    "ReduceMin": _reduction(torch.amin),
    "ReduceSum": _reduction(torch.sum),
    "Reshape": _reshaping,
    "Resize": _resizing,
    "Shape": _shape,
    "Softmax": lambda attributes: lambda x: x.softmax(attributes.get("axis", -1)),
    "Split": _splitting,
    "Transpose": _transposition,
}
