"""Integer rewrites: the same function, and integer kernels for all of it."""

from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import small_network
import torch
from beansweep.common import memory
from beansweep.models import backbones
from beansweep.quantization import integer_rewrites, onnx_graph, stem
from beansweep.quantization.onnx_graph import constant, producer
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from small_network import IDENTITY, RECIPE, graph_of, identity_convolution


def kinds(model):
    return Counter(node.op_type for node in model.graph)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_b0", "mobilenet_v2"]
)
def test_a_backbone_keeps_its_outputs_and_loses_what_has_no_integer_kernel(tmp_path, name):
    torch.manual_seed(0)
    small_network.export(backbones.build(name, 5), 64, tmp_path / "fp32.onnx")
    model, undone = integer_rewrites.rewrite(
        ir.load(tmp_path / "fp32.onnx"), small_network.noise(3, 64)
    )
    assert undone == []
    images = small_network.noise(4, 64, seed=1)
    expected = small_network.logits(tmp_path / "fp32.onnx", images)
    np.testing.assert_allclose(
        small_network.logits(model, images), expected, atol=1e-4 * np.ptp(expected)
    )
    kept = stem.of(model.graph)
    assert 2 <= len(kept) <= 5
    nodes = list(model.graph)
    first = next(node for node in nodes if node.op_type == "Conv" and node not in kept)
    following = nodes[nodes.index(first) :]
    assert not {"ReduceMean", "HardSwish", "HardSigmoid"} & {node.op_type for node in following}
    groups = [onnx_graph.groups(node) for node in following if "group" in node.attributes]
    assert groups
    assert all(group % 16 == 0 for group in groups if group > 1)


@pytest.mark.parametrize(
    "nodes",
    [
        [helper.make_node("ReduceMean", ["image", "axes"], ["logits"], keepdims=1)],
        [
            helper.make_node("HardSigmoid", ["image"], ["gate"], alpha=0.3),
            helper.make_node("Mul", ["image", "gate"], ["logits"]),
        ],
    ],
)
def test_what_is_not_recognised_is_left_alone(nodes):
    axes = [("axes", np.array([1], np.int64))] if len(nodes) == 1 else ()
    model = graph_of(nodes, [1, 3, 8, 8], axes)
    expected = kinds(model)
    rewritten, undone = integer_rewrites.rewrite(model, small_network.noise(1, 8))
    assert kinds(rewritten) == expected
    assert undone == []


@pytest.mark.parametrize("broken", ["another function", "an error", "a graph that does not run"])
def test_a_rewrite_that_does_not_fit_is_undone_and_named_and_the_others_stay(monkeypatch, broken):
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["pooled"], keepdims=1),
        helper.make_node("HardSwish", ["pooled"], ["logits"]),
    ]
    model = graph_of(nodes, [1, 3, 8, 8], [("axes", np.array([2, 3], np.int64))])
    expected = small_network.logits(model, small_network.noise(1, 8))

    def rewrite(self, op, x, **_):
        if broken == "an error":
            raise ValueError("operands could not be broadcast together")
        return op.Relu(x) if broken == "another function" else op.Conv(x, x)

    monkeypatch.setattr(integer_rewrites._IntegerHardSwish, "rewrite", rewrite)
    rewritten, undone = integer_rewrites.rewrite(model, small_network.noise(1, 8))
    assert undone == ["HardSwish in integers"]
    assert kinds(rewritten) == {"HardSwish": 1, "GlobalAveragePool": 1}
    np.testing.assert_allclose(
        small_network.logits(rewritten, small_network.noise(1, 8)), expected, atol=1e-5
    )


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("Failed to allocate memory for requested buffer")]
)
def test_want_of_memory_is_no_rewrite_that_does_not_fit(monkeypatch, error):
    def rewrite(self, op, x, **_):
        raise error

    monkeypatch.setattr(integer_rewrites._IntegerHardSwish, "rewrite", rewrite)
    pooling = helper.make_node("GlobalAveragePool", ["image"], ["pooled"])
    swish = helper.make_node("HardSwish", ["pooled"], ["logits"])
    model = graph_of([pooling, swish], [1, 3, 8, 8])
    with pytest.raises(Exception) as raised:
        integer_rewrites.rewrite(model, small_network.noise(1, 8))
    assert memory.ran_out(raised.value)


def quantized_hard_swish(folder, high, reduce_range):
    """A HardSwish between two convolutions that change nothing, for inputs from -8 to `high`."""
    first = identity_convolution("image", "linear")
    swish = helper.make_node("HardSwish", ["linear"], ["swished"])
    last = identity_convolution("swished", "logits")
    model = graph_of([first, swish, last], [1, 3, 16, 16], IDENTITY)
    (folder / "fp32.onnx").write_bytes(small_network.saved(model))
    ramp = np.resize(np.linspace(-8, high, 256, dtype=np.float32), (1, 3, 16, 16))
    prepared = small_network.prepare(folder / "fp32.onnx", ramp)
    ranges = small_network.calibrate(prepared, ramp, narrow_ranges=True)
    return small_network.quantize(prepared, ranges, {**RECIPE, "reduce_range": reduce_range})


@pytest.mark.integer_kernels
@settings(max_examples=12, deadline=None)
@given(high=st.floats(3, 40), reduce_range=st.booleans())
def test_integer_hard_swish_is_within_one_step_for_every_byte(tmp_path_factory, high, reduce_range):
    model = quantized_hard_swish(tmp_path_factory.mktemp("hardswish"), high, reduce_range)
    # From the bytes that HardSwish reads to the bytes that it puts out, in integer kernels.
    product = next(node for node in model.graph if node.op_type == "Mul")
    addition = next(node for node in model.graph if node.op_type == "Add")
    operands = [producer(value, "DequantizeLinear") for value in addition.inputs]
    source = next(node for node in operands if not node.inputs[0].is_initializer())
    target = product.outputs[0].consumers()[0]
    proto = onnx.shape_inference.infer_shapes(ir.to_proto(model))
    part = onnx.utils.Extractor(proto).extract_model(
        [source.inputs[0].name], [target.outputs[0].name]
    )
    every_byte = np.resize(np.arange(256, dtype=np.uint8), (1, 3, 16, 16))
    found = small_network.logits(part, every_byte)
    scale, zero = map(constant, source.inputs[1:])
    x = (every_byte.astype(np.float64) - zero) * scale
    step, zero = map(constant, target.inputs[1:])
    expected = np.clip(
        x * np.clip(x + 3, 0, 6) / 6, (0 - float(zero)) * step, (255 - float(zero)) * step
    )
    assert np.abs((found.astype(np.float64) - zero) * step - expected).max() <= 1.001 * step
    assert {node.op_type for node in part.graph.node} <= {
        "QuantizeLinear",
        "DequantizeLinear",
        "Add",
        "Mul",
    }
