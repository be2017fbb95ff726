"""An ONNX graph as a network that torch can run and, where it is quantized, train.

Each QuantizeLinear rounds and clips as it will when the model is deployed, and passes gradients on
as if it did not round (Jacob et al. 2018, "Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference"). What learns is the graph that will run: its rewrites,
its scales and with them its kernels stay as they are.
"""

import math
from collections.abc import Callable

import numpy as np
import onnx
import torch
from onnx import NodeProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from beansweep.common.errors import UserError
from beansweep.quantization import bias_correction, gptq

# A bias learns in steps of a weight at half of its input's range: one learning rate serves both.
_HALF_RANGE = 128


class _OnSteps(torch.autograd.Function):
    """Round to whole steps of `scale` from `low` to `high`; gradients pass where nothing was clipped.

    torch.fake_quantize_per_tensor_affine does the same in over three times as long (torch 2.15, on a processor).
    """

    @staticmethod
    def forward(context, values: Tensor, scale: float, low: int, high: int) -> Tensor:
        steps = (values / scale).round_()
        kept = steps.clamp(low, high)
        context.save_for_backward(kept == steps)
        return kept.mul_(scale)

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (inside,) = context.saved_tensors
        return gradient * inside, None, None, None


class Layer(nn.Module):
    """What learns of one quantized layer: its weights, in steps of INT8, and what its bias is shifted by.

    Parameters
    ----------
    stored : int8, the weights' steps
    scale, axis : of the weights, one for all or one for each index of an axis
    input_scale : of what the layer reads
    outputs : of the layer, 0 where it has no bias
    """

    def __init__(
        self, stored: np.ndarray, scale: np.ndarray, axis: int, input_scale: float, outputs: int
    ):
        super().__init__()
        self._limit = int(np.abs(stored.astype(int)).max())
        self._start = stored
        self._scale = torch.from_numpy(_along(scale, axis, stored.ndim).copy())
        self._bias_unit = torch.from_numpy(np.ravel(scale) * np.float32(input_scale * _HALF_RANGE))
        self.steps = nn.Parameter(torch.from_numpy(stored.astype(np.float32)))
        self.shift_units = nn.Parameter(torch.zeros(outputs))

    def weight(self) -> Tensor:
        """The weights as the layer multiplies them."""
        rounded = self.steps + (self.steps.round() - self.steps).detach()
        return rounded.clamp(-self._limit, self._limit) * self._scale

    def shift(self) -> Tensor:
        """What is added to the bias: float32 [outputs]."""
        return self.shift_units * self._bias_unit

    def stored(self) -> np.ndarray:
        """The weights' steps: int8."""
        return self.steps.detach().round().clamp(-self._limit, self._limit).numpy().astype(np.int8)

    def moved(self) -> tuple[int, int]:
        """How many weights, and how many biases, are on another step than at the start."""
        biases = (self.shift_units.detach() * _HALF_RANGE).round()
        return int(np.count_nonzero(self.stored() != self._start)), int(biases.count_nonzero())


class Network(nn.Module):
    """An ONNX classifier, in float or in QDQ form, as torch computes it.

    Parameters
    ----------
    model : one input, float32 [n, 3, size, size]; one output, float32 [n, classes]

    Raises
    ------
    UserError
        The graph has an operator that is not known here.
    """

    def __init__(self, model: onnx.ModelProto):
        super().__init__()
        self._model = model
        arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self._constants = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        # Of what is quantized in the graph: value -> the scale that its bytes have.
        self._scales = {
            node.output[0]: float(arrays[node.input[1]])
            for node in model.graph.node
            if node.op_type == "QuantizeLinear"
        }
        sources = {
            node.output[0]: node.input[0]
            for node in model.graph.node
            if node.op_type == "DequantizeLinear"
        }
        quantized = [
            (layer, weight)
            for layer, weight in gptq.quantized_layers(model)
            if layer.input[0] in sources and weight.input[0] in arrays
        ]
        self.layers = nn.ModuleList()
        # Value -> the layer whose weights it is, or whose output.
        self._weights, self._outputs = {}, {}
        for layer, weight in quantized:
            biases = [sources.get(name, name) for name in layer.input[2:]]
            own = Layer(
                arrays[weight.input[0]],
                arrays[weight.input[1]],
                _attributes(weight).get("axis", 1),
                self._scales[sources[layer.input[0]]],
                sum(arrays[name].size for name in biases),
            )
            self.layers.append(own)
            self._weights[weight.output[0]] = own
            self._outputs[layer.output[0]] = own
        self._operators = [(node, self._operator(node)) for node in model.graph.node]

    def forward(self, images: Tensor) -> Tensor:
        """float32 [n, 3, size, size] -> logits, float32 [n, classes]."""
        values = {**self._constants, "": None, self._model.graph.input[0].name: images}
        for node, operator in self._operators:
            inputs = [values[each] for each in node.input]
            if node.output[0] in self._outputs and len(inputs) == 3:
                inputs[2] = inputs[2] + self._outputs[node.output[0]].shift()
            values[node.output[0]] = operator(*inputs)
        return values[self._model.graph.output[0].name]

    def moved(self) -> dict[str, int]:
        """Counts of what training changed in the file: `weights_moved` of `weights`, `biases_moved` of `biases`."""
        weights, biases = (
            np.sum([layer.moved() for layer in self.layers], axis=0).tolist()
            if self.layers
            else (0, 0)
        )
        return {
            "weights": sum(layer.steps.numel() for layer in self.layers),
            "weights_moved": weights,
            "biases": sum(layer.shift_units.numel() for layer in self.layers),
            "biases_moved": biases,
        }

    def learned(self) -> onnx.ModelProto:
        """The graph with the weights and biases as they are now."""
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        producers = {name: node for node in model.graph.node for name in node.output}
        constants = {tensor.name: tensor for tensor in model.graph.initializer}

        def own_copy(name: str) -> str:
            """A constant of one layer alone: equal ones are shared."""
            copy = model.graph.initializer.add()
            copy.CopyFrom(constants[name])
            copy.name = f"l{len(model.graph.initializer)}"
            constants[copy.name] = copy
            return copy.name

        for output, own in self._outputs.items():
            layer = producers[output]
            weight = producers[layer.input[1]]
            weight.input[0] = own_copy(weight.input[0])
            constants[weight.input[0]].CopyFrom(
                numpy_helper.from_array(own.stored(), weight.input[0])
            )
            if len(layer.input) == 3:
                restored = producers.get(layer.input[2])
                owner, index = (restored, 0) if restored else (layer, 2)
                owner.input[index] = own_copy(owner.input[index])
                bias_correction.shift_bias(
                    constants, layer, producers, own.shift().detach().numpy()
                )
        used = {name for node in model.graph.node for name in node.input}
        kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
        del model.graph.initializer[:]
        model.graph.initializer.extend(kept)
        return model

    def _operator(self, node: NodeProto) -> Callable[..., Tensor]:
        """A node as a function of its inputs."""
        name = node.output[0]
        if name in self._weights:
            return lambda *_: self._weights[name].weight()
        if node.op_type == "QuantizeLinear":
            # As numbers, not as bytes: what reads them takes them as they are.
            zero = self._constants[node.input[2]]
            limits = torch.iinfo(zero.dtype)
            scale, low, high = self._scales[name], limits.min - int(zero), limits.max - int(zero)
            return lambda x, *_: _OnSteps.apply(x, scale, low, high)
        if node.op_type == "DequantizeLinear" and node.input[0] in self._scales:
            ratio = float(self._constants[node.input[1]]) / self._scales[node.input[0]]
            return lambda x, *_: x if ratio == 1 else x * ratio
        if node.op_type == "DequantizeLinear":
            constant = _dequantized(*(self._constants[each].numpy() for each in node.input), node)
            return lambda *_: constant
        make = _OPERATORS.get(node.op_type)
        if make is None:
            raise _unknown(node.op_type)
        return make(_attributes(node))


def _unknown(operator: str) -> UserError:
    return UserError(
        f"quantization-aware training does not know the operator {operator} of this network: "
        "take the variants with quantizer: qat out (null), or this backbone"
    )


def _attributes(node: NodeProto) -> dict:
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def _along(values: np.ndarray, axis: int, dimensions: int) -> np.ndarray:
    """One value for each index of an axis, in a shape that multiplies an array of so many dimensions."""
    return (
        values.reshape([-1 if each == axis else 1 for each in range(dimensions)])
        if values.ndim
        else values
    )


def _dequantized(
    stored: np.ndarray, scale: np.ndarray, zero: np.ndarray, node: NodeProto
) -> Tensor:
    axis = _attributes(node).get("axis", 1)
    scale, zero = (_along(each, axis, stored.ndim) for each in (scale, zero))
    return torch.from_numpy(
        np.asarray((stored.astype(np.float32) - zero.astype(np.float32)) * scale)
    )


def _convolution(attributes: dict) -> Callable[..., Tensor]:
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    options = {
        "stride": tuple(attributes.get("strides", (1, 1))),
        "groups": attributes.get("group", 1),
        "dilation": tuple(attributes.get("dilations", (1, 1))),
    }
    if (top, left) == (bottom, right):
        return lambda x, weight, bias=None: functional.conv2d(
            x, weight, bias, padding=(top, left), **options
        )
    return lambda x, weight, bias=None: functional.conv2d(
        functional.pad(x, (left, right, top, bottom)), weight, bias, **options
    )


def _max_pooling(attributes: dict) -> Callable[..., Tensor]:
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    options = _pooling_options(attributes)
    return lambda x: functional.max_pool2d(
        functional.pad(x, (left, right, top, bottom), value=-math.inf), **options
    )


def _average_pooling(attributes: dict) -> Callable[..., Tensor]:
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


def _padding(_: dict) -> Callable[..., Tensor]:
    def pad(x: Tensor, pads: Tensor, value: Tensor | None = None) -> Tensor:
        before, after = pads.reshape(2, -1).tolist()
        # torch lists the last axis first.
        both = [end for pair in zip(reversed(before), reversed(after), strict=True) for end in pair]
        return functional.pad(x, both, value=0 if value is None else float(value))

    return pad


def _matrix_product(attributes: dict) -> Callable[..., Tensor]:
    def gemm(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return functional.linear(x, weight if attributes.get("transB", 0) else weight.T, bias)

    return gemm


def _reshaping(_: dict) -> Callable[..., Tensor]:
    return lambda x, shape: x.reshape(
        [size or x.shape[axis] for axis, size in enumerate(shape.tolist())]
    )


def _slicing(_: dict) -> Callable[..., Tensor]:
    def slice_(
        x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor, steps: Tensor | None = None
    ) -> Tensor:
        for index, axis in enumerate(axes.tolist()):
            start, end = int(starts[index]), min(int(ends[index]), x.shape[axis])
            step = 1 if steps is None else int(steps[index])
            x = x.movedim(axis, 0)[start:end:step].movedim(0, axis)
        return x

    return slice_


_OPERATORS: dict[str, Callable[[dict], Callable[..., Tensor]]] = {
    "Add": lambda _: torch.add,
    "AveragePool": _average_pooling,
    "Clip": lambda _: lambda x, low=None, high=None: x.clamp(low, high),
    "Concat": lambda attributes: lambda *each: torch.cat(each, attributes["axis"]),
    "Conv": _convolution,
    "Flatten": lambda attributes: lambda x: x.flatten(attributes.get("axis", 1)),
    "Gemm": _matrix_product,
    "GlobalAveragePool": lambda _: lambda x: x.mean((2, 3), keepdim=True),
    "HardSigmoid": lambda attributes: (
        lambda x: (x * attributes.get("alpha", 0.2) + attributes.get("beta", 0.5)).clamp(0, 1)
    ),
    "HardSwish": lambda _: functional.hardswish,
    "MaxPool": _max_pooling,
    "Mul": lambda _: torch.mul,
    "Pad": _padding,
    "QuickGelu": lambda attributes: lambda x: x * torch.sigmoid(attributes.get("alpha", 1.702) * x),
    "ReduceMean": lambda attributes: (
        lambda x, axes: x.mean(axes.tolist(), keepdim=bool(attributes.get("keepdims", 1)))
    ),
    "Relu": lambda _: functional.relu,
    "Reshape": _reshaping,
    "Sigmoid": lambda _: torch.sigmoid,
    "Slice": _slicing,
}
