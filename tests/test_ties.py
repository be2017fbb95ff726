"""Scales without ties: integer and float kernels put out the same bytes."""

import numpy as np
import onnx_ir as ir
import pytest
from beansweep import qdq, runtime, ties
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

# Integer kernels and float ones part by some 1e-5 of a step where a sum is hundreds of steps.
MARGIN = 1e-4
LARGEST_GROWTH = 1 + 2.1 / 128
scales = st.floats(0.01, 0.2)
zeros = st.integers(0, 255)


def quantized(operator, inputs, scale, zero, constants=(), clip=None):
    """A QDQ graph of one operator: uint8 inputs, name -> (scale, zero); `scale` and `zero` of what it puts out.

    `constants` are (name, array, scale) that it reads beside the inputs.
    """
    nodes, read, initializers = [], [], []

    def restore(name, scale, zero, axis=0):
        for what, value in (("scale", np.float32(scale)), ("zero", zero)):
            initializers.append(numpy_helper.from_array(np.asarray(value), f"{name}_{what}"))
        nodes.append(helper.make_node("DequantizeLinear", [name, f"{name}_scale", f"{name}_zero"], [f"{name}_float"],
                                      axis=axis))
        read.append(f"{name}_float")

    for name, (each, point) in inputs.items():
        restore(name, each, np.uint8(point))
    for name, array, each in constants:
        initializers.append(numpy_helper.from_array(array, name))
        restore(name, each, np.zeros(np.shape(each), array.dtype))
    result = clip or "exact"
    nodes.append(helper.make_node(operator, read, [result], name="layer"))
    restore("bytes", scale, np.uint8(zero))
    nodes.insert(-1, helper.make_node("QuantizeLinear", [result, "bytes_scale", "bytes_zero"], ["bytes"]))
    rank = [1] * 4 if operator == "Conv" else [1]
    fed = [helper.make_tensor_value_info(name, TensorProto.UINT8, [None] * len(rank)) for name in inputs]
    graph = helper.make_graph(nodes, "graph", fed, [helper.make_tensor_value_info("bytes_float", TensorProto.FLOAT,
                                                                                 [None] * len(rank))], initializers)
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))


def floats(operator, clip=None, **constants):
    """The graph that it was made from, as far as scales depend on it."""
    model = ir.from_proto(helper.make_model(helper.make_graph(
        [helper.make_node(operator, ["x", *constants], ["exact"], name="layer"),
         *([helper.make_node("Clip", ["exact", "low", "high"], [clip])] if clip else [])], "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "low", "high")], [],
        [numpy_helper.from_array(array, name) for name, array in constants.items()])))
    return model.graph


def constant(model, name):
    return model.graph.initializers[name].const_value.numpy().astype(np.float64)


def same_in_both_kernels(model, feeds):
    proto = ir.to_proto(model).SerializeToString()
    found = [runtime.session(proto, float_kernels=each).run(None, feeds)[0] for each in (False, True)]
    np.testing.assert_array_equal(*found)


def from_a_tie(steps):
    """Least distance of sums, in steps of what is put out, from the middle between two bytes."""
    return np.abs(steps - np.floor(steps) - 0.5).min()


@pytest.mark.integer_kernels
@settings(max_examples=40, deadline=None)
@given(scales, scales, scales, st.tuples(zeros, zeros, zeros))
def test_an_addition_of_any_two_bytes_is_rounded_alike(first, second, result, points):
    model = quantized("Add", {"a": (first, points[0]), "b": (second, points[1])}, result, points[2])
    ties.avoid(model.graph, floats("Add"), qdq.LAYERS)
    sizes = [constant(model, f"{name}_scale") for name in ("a", "b", "bytes")]
    for before, after in zip((first, second, result), sizes, strict=True):
        assert np.float32(before) * (1 - 1e-6) <= after <= before * LARGEST_GROWTH
    a, b = (each.ravel() for each in np.meshgrid(*[np.arange(256)] * 2))
    assert from_a_tie(((a - points[0]) * sizes[0] + (b - points[1]) * sizes[1]) / sizes[2]) > MARGIN
    same_in_both_kernels(model, {"a": a.astype(np.uint8), "b": b.astype(np.uint8)})


@pytest.mark.integer_kernels
@settings(max_examples=20, deadline=None)
@given(scales, zeros)
def test_a_gate_keeps_its_bounds_and_has_no_tie(scale, zero):
    """HardSwish's x + 3 clipped to [0, 6]: at x = 0 it lies in the middle between two bytes."""
    three = np.array(255, np.uint8), 3 / 255
    model = quantized("Add", {"x": (scale, zero)}, 6 / 255, 0, [("three", *three)], clip="gate")
    ties.avoid(model.graph, floats("Add", clip="gate"), qdq.LAYERS)
    assert constant(model, "bytes_scale") == np.float32(6 / 255)
    step, three = constant(model, "x_scale"), 255 * constant(model, "three_scale")
    assert scale * (1 - 1e-6) <= step <= scale * LARGEST_GROWTH
    assert three == pytest.approx(3, abs=6 / 255 / 128)
    x = np.arange(256)
    assert from_a_tie(((x - zero) * step + three) / np.float64(np.float32(6 / 255))) > MARGIN
    same_in_both_kernels(model, {"x": x.astype(np.uint8)})


@pytest.mark.integer_kernels
@settings(max_examples=20, deadline=None)
@given(scale=scales, result=scales, zero=zeros, out=zeros, seed=st.integers(0, 2**32 - 1), per_channel=st.booleans())
def test_a_layer_is_rounded_alike_and_keeps_its_function(reduce_range, scale, result, zero, out, seed, per_channel):
    rng = np.random.default_rng(seed)
    exact = rng.normal(size=(6, 8, 1, 1), scale=rng.uniform(0.01, 3, (6, 1, 1, 1))).astype(np.float32)
    shift = rng.normal(size=6).astype(np.float32)
    largest = np.abs(exact).max(axis=(1, 2, 3)) if per_channel else np.abs(exact).max()
    sizes = (largest / (64 if reduce_range else 127)).astype(np.float32)
    along = sizes.reshape(-1, 1, 1, 1)
    unit = (np.float32(scale) * sizes).astype(np.float32)
    model = quantized("Conv", {"x": (scale, zero)}, result, out,
                      [("weight", np.rint(exact / along).astype(np.int8), sizes),
                       ("bias", np.rint(shift / unit).astype(np.int32), unit)])
    ties.avoid(model.graph, floats("Conv", weight=exact, bias=shift), qdq.LAYERS)
    found = constant(model, "weight_scale")
    assert (found >= sizes * (1 - 1e-6)).all()
    assert (found <= sizes * LARGEST_GROWTH).all()
    weight = constant(model, "weight") * found.reshape(-1, 1, 1, 1)
    assert np.abs(weight - exact).max() <= 0.51 * found.max()
    bias = constant(model, "bias") * constant(model, "bias_scale")
    np.testing.assert_allclose(bias, shift, atol=0.51 * found.max() * scale)
    images = rng.integers(0, 256, (1, 8, 40, 40)).astype(np.uint8)
    sums = np.einsum("oc,cyx->oyx", weight[:, :, 0, 0], (images[0] - float(zero)) * constant(model, "x_scale"))
    assert from_a_tie((sums + bias.reshape(-1, 1, 1)) / constant(model, "bytes_scale")) > MARGIN / 10
    same_in_both_kernels(model, {"x": images})


def test_an_addition_that_nobody_quantizes_is_left_alone():
    model = quantized("Add", {"a": (0.03, 5), "b": (0.05, 7)}, 0.06, 9)
    next(node for node in model.graph if node.op_type == "QuantizeLinear").op_type = "Cast"
    expected = ir.to_proto(model).SerializeToString()
    ties.avoid(model.graph, floats("Add"), qdq.LAYERS)
    assert ir.to_proto(model).SerializeToString() == expected
