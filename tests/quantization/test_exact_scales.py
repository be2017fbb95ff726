"""Exact scales: integer and float kernels put out the same bytes."""

import numpy as np
import onnx_ir as ir
import pytest
from beansweep.models import onnx_session
from beansweep.quantization import exact_scales, onnx_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

# Integer and float kernels differ by some 1e-5 of a step where a sum is hundreds of steps.
MARGIN = 1e-4
LARGEST_GROWTH = 1 + 2.1 / 128
CURVES = {
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Tanh": np.tanh,
    "HardSwish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
}
scales = st.floats(0.01, 0.2)
zeros = st.integers(0, 255)


class QuantizedGraph:
    """A QDQ graph of one operator that reads bytes and puts bytes out, built up piece by piece.

    Parameters
    ----------
    operator : named `layer` in the graph
    inputs : uint8 inputs, name -> (scale, zero)
    scale, zero : of the bytes that are put out
    constants : (name, array, scale) that the operator reads after its inputs
    clip : name of the operator's output, where that is clipped in the float graph
    """

    def __init__(self, operator, inputs, scale, zero, constants=(), clip=None):
        self.nodes, self.initializers = [], []
        read = [self.restore(name, size, np.uint8(point)) for name, (size, point) in inputs.items()]
        for name, array, size in constants:
            self.initializers.append(numpy_helper.from_array(array, name))
            read.append(self.restore(name, size, np.zeros(np.shape(size), array.dtype)))
        result = clip or "exact"
        self.nodes.append(helper.make_node(operator, read, [result], name="layer"))
        self.restore("bytes", scale, np.uint8(zero))
        names = [result, "bytes_scale", "bytes_zero"]
        self.nodes.insert(-1, helper.make_node("QuantizeLinear", names, ["bytes"]))
        self.inputs = list(inputs)
        self.shape = [None] * (4 if operator == "Conv" else 1)

    def restore(self, name, scale, zero):
        """Add a DequantizeLinear, and return the name of what it puts out."""
        for what, value in (("scale", np.float32(scale)), ("zero", zero)):
            self.initializers.append(numpy_helper.from_array(np.asarray(value), f"{name}_{what}"))
        names = [name, f"{name}_scale", f"{name}_zero"]
        node = helper.make_node("DequantizeLinear", names, [f"{name}_float"], axis=0)
        self.nodes.append(node)
        return node.output[0]

    def model(self):
        """The graph as a model."""
        fed = []
        for name in self.inputs:
            fed.append(helper.make_tensor_value_info(name, TensorProto.UINT8, self.shape))
        result = helper.make_tensor_value_info("bytes_float", TensorProto.FLOAT, self.shape)
        graph = helper.make_graph(self.nodes, "graph", fed, [result], self.initializers)
        opset = helper.make_opsetid("", 21)
        return ir.from_proto(helper.make_model(graph, opset_imports=[opset], ir_version=10))


def quantized(*arguments, **options):
    """A QDQ graph of one operator; see `QuantizedGraph`."""
    return QuantizedGraph(*arguments, **options).model()


def floats(operator, clip=None, **constants):
    """The graph that it was made from, as far as scales depend on it."""
    nodes = [helper.make_node(operator, ["x", *constants], ["exact"], name="layer")]
    if clip:
        nodes.append(helper.make_node("Clip", ["exact", "low", "high"], [clip]))
    inputs = []
    for name in ("x", "low", "high"):
        inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    arrays = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "graph", inputs, [], arrays)
    return ir.from_proto(helper.make_model(graph)).graph


def constant(model, name):
    return onnx_graph.constant(model.graph.initializers[name]).astype(np.float64)


def same_in_both_kernels(model, feeds):
    proto = ir.to_proto(model).SerializeToString()
    integers = onnx_session.create(proto).run(None, feeds)[0]
    floats = onnx_session.create(proto, float_kernels=True).run(None, feeds)[0]
    np.testing.assert_array_equal(integers, floats)


def from_a_middle(steps):
    """Least distance of sums, in steps of what is put out, from the middle between two bytes."""
    return np.abs(steps - np.floor(steps) - 0.5).min()


@pytest.mark.integer_kernels
@settings(max_examples=40, deadline=None)
@given(scales, scales, scales, st.tuples(zeros, zeros, zeros))
def test_an_addition_of_any_two_bytes_is_rounded_alike(first, second, result, points):
    model = quantized("Add", {"a": (first, points[0]), "b": (second, points[1])}, result, points[2])
    exact_scales.choose(model.graph, floats("Add"))
    sizes = [constant(model, f"{name}_scale") for name in ("a", "b", "bytes")]
    for before, after in zip((first, second, result), sizes, strict=True):
        assert np.float32(before) * (1 - 1e-6) <= after <= before * LARGEST_GROWTH
    a, b = np.indices((256, 256)).reshape(2, -1)
    assert (
        from_a_middle(((a - points[0]) * sizes[0] + (b - points[1]) * sizes[1]) / sizes[2]) > MARGIN
    )
    same_in_both_kernels(model, {"a": a.astype(np.uint8), "b": b.astype(np.uint8)})


@pytest.mark.integer_kernels
@settings(max_examples=20, deadline=None)
@given(scales, zeros)
def test_a_gate_keeps_its_bounds_and_meets_no_middle(scale, zero):
    """HardSwish's x + 3 clipped to [0, 6]: at x = 0 it lies in the middle between two bytes."""
    three = np.array(255, np.uint8), 3 / 255
    model = quantized("Add", {"x": (scale, zero)}, 6 / 255, 0, [("three", *three)], clip="gate")
    exact_scales.choose(model.graph, floats("Add", clip="gate"))
    assert constant(model, "bytes_scale") == np.float32(6 / 255)
    step, three = constant(model, "x_scale"), 255 * constant(model, "three_scale")
    assert scale * (1 - 1e-6) <= step <= scale * LARGEST_GROWTH
    assert three == pytest.approx(3, abs=6 / 255 / 128)
    x = np.arange(256)
    assert from_a_middle(((x - zero) * step + three) / np.float64(np.float32(6 / 255))) > MARGIN
    same_in_both_kernels(model, {"x": x.astype(np.uint8)})


@pytest.mark.integer_kernels
@settings(max_examples=20, deadline=None)
@given(
    scale=scales,
    result=scales,
    zero=zeros,
    out=zeros,
    seed=st.integers(0, 2**32 - 1),
    per_channel=st.booleans(),
)
def test_a_layer_is_rounded_alike_and_keeps_its_function(
    reduce_range, scale, result, zero, out, seed, per_channel
):
    rng = np.random.default_rng(seed)
    exact = rng.normal(size=(6, 8, 1, 1), scale=rng.uniform(0.01, 3, (6, 1, 1, 1))).astype(
        np.float32
    )
    shift = rng.normal(size=6).astype(np.float32)
    largest = np.abs(exact).max(axis=(1, 2, 3)) if per_channel else np.abs(exact).max()
    sizes = (largest / (64 if reduce_range else 127)).astype(np.float32)
    along = sizes.reshape(-1, 1, 1, 1)
    unit = (np.float32(scale) * sizes).astype(np.float32)
    model = quantized(
        "Conv",
        {"x": (scale, zero)},
        result,
        out,
        [
            ("weight", np.rint(exact / along).astype(np.int8), sizes),
            ("bias", np.rint(shift / unit).astype(np.int32), unit),
        ],
    )
    exact_scales.choose(model.graph, floats("Conv", weight=exact, bias=shift))
    found = constant(model, "weight_scale")
    assert (found >= sizes * (1 - 1e-6)).all()
    assert (found <= sizes * LARGEST_GROWTH).all()
    weight = constant(model, "weight") * found.reshape(-1, 1, 1, 1)
    assert np.abs(weight - exact).max() <= 0.51 * found.max()
    bias = constant(model, "bias") * constant(model, "bias_scale")
    np.testing.assert_allclose(bias, shift, atol=0.51 * found.max() * scale)
    images = rng.integers(0, 256, (1, 8, 40, 40)).astype(np.uint8)
    sums = np.einsum(
        "oc,cyx->oyx", weight[:, :, 0, 0], (images[0] - float(zero)) * constant(model, "x_scale")
    )
    assert (
        from_a_middle((sums + bias.reshape(-1, 1, 1)) / constant(model, "bytes_scale"))
        > MARGIN / 10
    )
    same_in_both_kernels(model, {"x": images})


@pytest.mark.integer_kernels
@settings(max_examples=20, deadline=None)
@given(
    scales, zeros, st.floats(0.003, 0.03), zeros, st.sampled_from(["Sigmoid", "Tanh", "HardSwish"])
)
def test_no_value_of_a_curve_is_in_the_middle_of_two_bytes(scale, zero, result, out, curve):
    model = quantized(curve, {"x": (scale, zero)}, result, out)
    exact_scales.choose(model.graph, floats(curve))
    step = constant(model, "bytes_scale")
    assert result * (1 - 1e-6) <= step <= result * 1.021
    x = np.arange(256)
    values = (x - zero) * np.float64(np.float32(scale))
    steps = CURVES[curve](values) / step + out
    assert from_a_middle(steps[(steps > 0) & (steps < 255)]) > 10 * MARGIN
    same_in_both_kernels(model, {"x": x.astype(np.uint8)})


def test_silu_of_bytes_is_a_curve_of_them():
    """x * Sigmoid(x), as it is in a graph without the fused operator."""
    model = quantized("Sigmoid", {"x": (0.05, 128)}, 0.02, 10)
    nodes = {node.op_type: node for node in model.graph}
    product = ir.node("Mul", [nodes["Sigmoid"].inputs[0], nodes["Sigmoid"].outputs[0]])
    model.graph.insert_after(nodes["Sigmoid"], product)
    nodes["QuantizeLinear"].replace_input_with(0, product.outputs[0])
    product.outputs[0].name = "silu"
    source = exact_scales.bytes_behind(product.outputs[0])
    assert source is nodes["Sigmoid"].inputs[0].producer()
    exact_scales.choose(model.graph, floats("Sigmoid"))
    values = (np.arange(256) - 128) * np.float64(np.float32(0.05))
    steps = values * CURVES["Sigmoid"](values) / constant(model, "bytes_scale") + 10
    assert from_a_middle(steps) > 10 * MARGIN


def test_an_addition_that_nobody_quantizes_is_left_alone():
    model = quantized("Add", {"a": (0.03, 5), "b": (0.05, 7)}, 0.06, 9)
    next(node for node in model.graph if node.op_type == "QuantizeLinear").op_type = "Cast"
    expected = ir.to_proto(model).SerializeToString()
    exact_scales.choose(model.graph, floats("Add"))
    assert ir.to_proto(model).SerializeToString() == expected
