"""Fake quantization: torch runs a quantized ONNX graph, and trains it.

Each QuantizeLinear rounds and clips as it will when the model is deployed, and passes gradients on
as if it did not round: a straight-through estimator (Bengio et al. 2013, "Estimating or Propagating
Gradients Through Stochastic Neurons"; Jacob et al. 2018, "Quantization and Training of Neural
Networks for Efficient Integer-Arithmetic-Only Inference"). What learns is the graph that will run:
its rewrites, its scales and with them its kernels stay as they are.
"""

import numpy as np
import onnx_ir as ir
import onnxruntime
import torch
from torch import Tensor, nn

from beansweep.models import onnx_session
from beansweep.quantization import bias_correction, onnx_graph, torch_operators
from beansweep.quantization.not_applicable import NotApplicable
from beansweep.quantization.onnx_graph import along_axis, constant, producer

# A bias learns in steps of a weight at half of its input's range: one learning rate serves both.
_HALF_RANGE = 128
_PROCESSOR = torch.device("cpu")
# How far from its step a weight may start: at half a step it would round to another one.
_WITHIN_STEP = 0.49
# A layer of another function, as bit-exact layers with a factor are: its weights are off by more
# steps than rounding puts them off.
_OTHER_WEIGHTS = 0.75
# Difference of torch's logits from ONNX Runtime's that is left to kernels: a share of the largest.
_TOLERANCE = 1e-3


class _OnSteps(torch.autograd.Function):
    """Round to whole steps of `scale` from `low` to `high`; gradients pass where nothing clipped.

    torch.fake_quantize_per_tensor_affine does the same in over three times as long (torch 2.15,
    on a processor).
    """

    @staticmethod
    def forward(context, values: Tensor, scale: float, low: int, high: int) -> Tensor:
        steps = (values / scale).round_()
        context.save_for_backward(steps)
        # Steps are whole, so none is at these limits.
        context.limits = (low - 0.5, high + 0.5)
        return steps.clamp(low, high).mul_(scale)

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (steps,) = context.saved_tensors
        passed = torch.ops.aten.hardtanh_backward(gradient, steps, *context.limits)
        return passed, None, None, None


class Layer(nn.Module):
    """What learns in one quantized layer.

    That is its weights, in steps of INT8, and what its bias is shifted by. A weight starts where
    rounding put it, which may be GPTQ's choice, and within its step as near as possible to its
    float value. So those that were rounded against their will need the least to move.

    Parameters
    ----------
    stored : int8, the weights' steps
    scale, axis : of the weights, one for all or one for each index of an axis
    input_scale : of what the layer reads
    outputs : of the layer, 0 where it has no bias
    floats : float32, the weights before they were rounded; without them all start on whole steps
    """

    _scale: Tensor
    _bias_unit: Tensor

    def __init__(
        self,
        stored: np.ndarray,
        scale: np.ndarray,
        axis: int,
        input_scale: float,
        outputs: int,
        floats: np.ndarray | None = None,
    ):
        super().__init__()
        self._limit = int(np.abs(stored.astype(int)).max())
        self._start = stored
        scales = along_axis(scale, axis, stored.ndim)
        units = np.ravel(scale) * np.float32(input_scale * _HALF_RANGE)
        # They go where the module goes, and are in no saved state.
        self.register_buffer("_scale", torch.from_numpy(scales.copy()), persistent=False)
        self.register_buffer("_bias_unit", torch.from_numpy(units), persistent=False)
        start = stored.astype(np.float32)
        if floats is not None and floats.shape == stored.shape:
            off = floats / scales - start
            if np.abs(off).mean() < _OTHER_WEIGHTS:
                start += off.clip(-_WITHIN_STEP, _WITHIN_STEP)
        self.steps = nn.Parameter(torch.from_numpy(start))
        self.shift_units = nn.Parameter(torch.zeros(outputs))

    def weight(self) -> Tensor:
        """Return the weights as the layer multiplies them, float32."""
        rounded = self.steps + (self.steps.round() - self.steps).detach()
        return rounded.clamp(-self._limit, self._limit) * self._scale

    def shift(self) -> Tensor:
        """Return what is added to the bias: float32 [outputs]."""
        return self.shift_units * self._bias_unit

    def stored(self) -> np.ndarray:
        """Return the weights' steps: int8."""
        steps = self.steps.detach().round().clamp(-self._limit, self._limit)
        return steps.cpu().numpy().astype(np.int8)

    def weights_moved(self) -> int:
        """Count the weights that are on another step than at the start."""
        return int(np.count_nonzero(self.stored() != self._start))

    def biases_moved(self) -> int:
        """Count the biases that are on another step than at the start."""
        return int((self.shift_units.detach() * _HALF_RANGE).round().count_nonzero())


class Network(nn.Module):
    """An ONNX classifier, in float or in QDQ form, as torch computes it.

    Parameters
    ----------
    model : one input, float32 [n, 3, size, size]; one output, float32 [n, classes]
    prepared : the float model that a quantized one was made from: where its weights start
    device : where it computes; shapes and places, which are integers, stay on the processor

    Raises
    ------
    NotApplicable
        The graph has operators that are not known here.
    """

    def __init__(
        self, model: ir.Model, prepared: ir.Model | None = None, device: torch.device = _PROCESSOR
    ):
        super().__init__()
        unknown = torch_operators.unknown(model.graph)
        if unknown:
            raise NotApplicable(
                f"quantization-aware training does not know {', '.join(unknown)} of this network"
            )
        self._model = model
        self._device = device
        self._constants = {}
        for value in model.graph.initializers.values():
            array = torch.from_numpy(constant(value).copy())
            self._constants[value] = array.to(device) if array.is_floating_point() else array
        # What is quantized in the graph: value -> the scale that its bytes have.
        self._scales = {}
        for node in model.graph:
            if node.op_type == "QuantizeLinear":
                self._scales[node.outputs[0]] = float(constant(node.inputs[1]))
        self.layers = nn.ModuleList()
        # Value -> the layer that puts it out, or that has it as weights.
        self._by_output: dict[ir.Value, Layer] = {}
        self._by_weights: dict[ir.Value, Layer] = {}
        floats = _layer_weights(prepared) if prepared else {}
        for layer, weights in onnx_graph.quantized_layers(model.graph):
            self._add_layer(layer, weights, floats.get(layer.name))
        self._operators = [(node, self._operator(node)) for node in model.graph]
        self.to(device)

    def _add_layer(self, layer: ir.Node, weights: ir.Node, floats: np.ndarray | None) -> None:
        """Make a quantized layer learn, where what it reads is quantized too."""
        read = producer(layer.inputs[0], "DequantizeLinear")
        stored, scale = map(constant, weights.inputs[:2])
        if read is None or stored is None:
            return
        outputs = 0
        for bias in layer.inputs[2:]:
            restored = producer(bias, "DequantizeLinear")
            outputs += constant(restored.inputs[0] if restored else bias).size
        axis = weights.attributes.get_int("axis", 1)
        own = Layer(stored, scale, axis, self._scales[read.inputs[0]], outputs, floats)
        self.layers.append(own)
        self._by_output[layer.outputs[0]] = own
        self._by_weights[weights.outputs[0]] = own

    def _operator(self, node: ir.Node) -> torch_operators.Operator:
        """Turn a node into a function of its inputs."""
        output = node.outputs[0]
        if output in self._by_weights:
            return lambda *_: self._by_weights[output].weight()
        if node.op_type == "QuantizeLinear":
            # As numbers, not as bytes: what reads them takes them as they are.
            zero = self._constants[node.inputs[2]]
            limits = torch.iinfo(zero.dtype)
            low, high = limits.min - int(zero), limits.max - int(zero)
            return lambda x, *_: _OnSteps.apply(x, self._scales[output], low, high)
        if node.op_type != "DequantizeLinear":
            return torch_operators.of(node.op_type, onnx_graph.attributes(node))
        if node.inputs[0] in self._scales:
            ratio = float(constant(node.inputs[1])) / self._scales[node.inputs[0]]
            return lambda x, *_: x if ratio == 1 else x * ratio
        array = torch.from_numpy(np.asarray(onnx_graph.dequantized(node))).to(self._device)
        return lambda *_: array

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logits, float32 [n, classes], of images, float32 [n, 3, size, size]."""
        graph = self._model.graph
        values = {**self._constants, None: None, graph.inputs[0]: images}
        for node, operator in self._operators:
            output = node.outputs[0]
            inputs = [values[value] for value in node.inputs]
            if output in self._by_output and len(inputs) == 3:
                inputs[2] = inputs[2] + self._by_output[output].shift()
            result = operator(*inputs)
            results = result if isinstance(result, tuple) else (result,)
            values.update(zip(node.outputs, results, strict=False))
        return values[graph.outputs[0]]

    def moved(self) -> dict[str, int]:
        """Count what training changed in the file.

        Returns
        -------
        `weights_moved` of `weights`, and `biases_moved` of `biases`.
        """
        counts = dict.fromkeys(("weights", "weights_moved", "biases", "biases_moved"), 0)
        for layer in self._by_output.values():
            counts["weights"] += layer.steps.numel()
            counts["weights_moved"] += layer.weights_moved()
            counts["biases"] += layer.shift_units.numel()
            counts["biases_moved"] += layer.biases_moved()
        return counts

    def learned(self) -> ir.Model:
        """Return the graph with the weights and biases as they are now."""
        model = self._model.clone()
        graph = model.graph
        layers = {node.outputs[0].name: node for node in graph}
        for output, own in self._by_output.items():
            layer = layers[output.name]
            weights = producer(layer.inputs[1], "DequantizeLinear")
            _give_own_constant(graph, weights, 0)
            onnx_graph.set_constant(weights.inputs[0], own.stored())
            if len(layer.inputs) == 3:
                restored = producer(layer.inputs[2], "DequantizeLinear")
                if restored is not None:
                    _give_own_constant(graph, restored, 0)
                else:
                    _give_own_constant(graph, layer, 2)
                bias_correction.shift_bias(layer, own.shift().detach().cpu().numpy())
        for name, value in list(graph.initializers.items()):
            if not value.uses():
                del graph.initializers[name]
        return model


def _layer_weights(model: ir.Model) -> dict[str | None, np.ndarray | None]:
    """Return each layer's weights in float by the layer's name."""
    weights = {}
    for node in model.graph:
        if node.op_type in onnx_graph.LAYERS:
            weights[node.name] = constant(node.inputs[1])
    return weights


def _give_own_constant(graph: ir.Graph, node: ir.Node, index: int) -> None:
    """Give a node a copy of a constant that it reads: equal constants are shared."""
    name = f"l{len(graph.initializers) + 1}"
    copy = onnx_graph.add_constant(graph, name, constant(node.inputs[index]))
    node.replace_input_with(index, copy)


def check(
    prepared: ir.Model,
    teacher: onnxruntime.InferenceSession,
    inputs: np.ndarray,
    device: torch.device = _PROCESSOR,
) -> None:
    """Compare what torch computes of a network with ONNX Runtime.

    Parameters
    ----------
    prepared, teacher : the network in float, and ONNX Runtime's session of it
    inputs : float32 [n, 3, size, size]
    device : where torch computes

    Raises
    ------
    NotApplicable
        They differ by more than kernels do.
    """
    expected = onnx_session.logits(teacher, inputs)
    with torch.no_grad():
        network = Network(prepared, device=device)
        found = network(torch.from_numpy(inputs).to(device)).cpu().numpy()
    difference = np.abs(found - expected).max()
    if not difference <= _TOLERANCE * max(np.abs(expected).max(), 1):
        raise NotApplicable(
            "quantization-aware training computes this network otherwise than ONNX Runtime does: "
            f"its outputs differ by {difference:.2g}"
        )
