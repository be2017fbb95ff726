"""Graph rewrites: the same function, and integer kernels for all of it."""

from collections import Counter

import export_fp32
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from beansweep import backbones, quantization, rewrites
from beansweep.stage import UserError
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch import nn

RECIPE = {"rewrites": True, "per_channel": True, "weight_type": "QInt8", "activation_type": "QUInt8"}


def noise(count, size, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3, size, size)).astype(np.float32)


def run(model, inputs, **options):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"], **options)
    return session.run(None, {session.get_inputs()[0].name: inputs})[0]


def kinds(path):
    return Counter(node.op_type for node in onnx.load(path).graph.node)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_b0", "mobilenet_v2"])
def test_a_backbone_keeps_its_outputs_and_loses_what_has_no_integer_kernel(tmp_path, name):
    torch.manual_seed(0)
    export_fp32.export(backbones.build(name, 5).eval(), 64, tmp_path / "fp32.onnx")
    rewrites.integer_graph(tmp_path / "fp32.onnx", noise(3, 64), tmp_path / "rewritten.onnx")
    images = noise(4, 64, seed=1)
    expected = run(tmp_path / "fp32.onnx", images)
    np.testing.assert_allclose(run(tmp_path / "rewritten.onnx", images), expected, atol=1e-4 * np.ptp(expected))
    stem = rewrites.stem(ir.load(tmp_path / "rewritten.onnx").graph)
    assert 2 <= len(stem) <= 5
    nodes = onnx.load(tmp_path / "rewritten.onnx").graph.node
    read = {node.input[1] for node in nodes if node.op_type == "Conv"} - {layer.inputs[1].name for layer in stem}
    first = next(index for index, node in enumerate(nodes) if node.op_type == "Conv" and node.input[1] in read)
    assert not {"ReduceMean", "HardSwish", "HardSigmoid"} & {node.op_type for node in nodes[first:]}
    groups = [attribute.i for node in nodes[first:] for attribute in node.attribute if attribute.name == "group"]
    assert groups
    assert all(group % 16 == 0 for group in groups if group > 1)


@pytest.mark.integer_kernels
def test_the_stem_stays_in_float_and_all_else_is_in_integers(tmp_path, reduce_range):
    """Narrow layers first, a residual addition and a squeeze-and-excitation gate among them."""
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.Hardswish())
            self.narrow = nn.Conv2d(16, 16, 1)
            self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 16, 1), nn.Hardsigmoid())
            self.wide = nn.Sequential(nn.Conv2d(16, 48, 1), nn.Hardswish(), nn.Conv2d(48, 16, 1))
            self.last = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4))

        def forward(self, x):
            x = self.first(x)
            x = x + self.narrow(x)
            x = x * self.squeeze(x)
            return self.last(x + self.wide(x))

    torch.manual_seed(0)
    export_fp32.export(Network().eval(), 16, tmp_path / "fp32.onnx")
    images = noise(8, 16)
    prepared = tmp_path / "prepared.onnx"
    quantization.prepare(tmp_path / "fp32.onnx", prepared, images)
    quantization.calibrate(prepared, "minmax", images[:, None], [], tmp_path / "ranges.json", narrow=True)
    quantization.quantize(prepared, tmp_path / "ranges.json", {**RECIPE, "reduce_range": reduce_range},
                          tmp_path / "int8.onnx")
    stem = [layer.name for layer in rewrites.stem(ir.load(prepared).graph)]
    assert stem == ["first.0", "narrow", "squeeze.1"]
    model = onnx.load(tmp_path / "int8.onnx")
    stored = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    restored = {node.output[0]: stored.get(node.input[0]) for node in model.graph.node
                if node.op_type == "DequantizeLinear"}
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            assert (stored.get(node.input[1]) == TensorProto.FLOAT) == (node.name in stem)
            assert (restored.get(node.input[1]) == TensorProto.INT8) == (node.name not in stem)
    # No layer in float reads bytes, so nothing has to be told to ONNX Runtime, and it leaves the stem alone.
    assert quantization.session_entries(tmp_path / "int8.onnx") == {}
    exact = run((tmp_path / "fp32.onnx").read_bytes(), images)
    assert np.abs(run((tmp_path / "int8.onnx").read_bytes(), images) - exact).max() < 0.05 * np.ptp(exact)


def test_a_network_of_narrow_layers_alone_has_no_stem(tmp_path):
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    export_fp32.export(network.eval(), 8, tmp_path / "fp32.onnx")
    assert rewrites.stem(ir.load(tmp_path / "fp32.onnx").graph) == []


def test_channels_are_scaled_to_one_range(tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 16, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.ReLU(),
                            nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 3, 1), nn.Flatten()).eval()
    with torch.no_grad():
        network[0].weight *= torch.logspace(-1.5, 1.5, 16).reshape(-1, 1, 1, 1)
        network[0].bias.zero_()
    export_fp32.export(network, 8, tmp_path / "fp32.onnx")
    images = noise(6, 8)
    rewrites.integer_graph(tmp_path / "fp32.onnx", images, tmp_path / "rewritten.onnx")

    def used(path):
        model = onnx.load(path)
        relu = next(node for node in model.graph.node if node.op_type == "Relu")
        model.graph.output.insert(0, onnx.ValueInfoProto(name=relu.output[0]))
        largest = run(model.SerializeToString(), images).max(axis=(0, 2, 3))
        return np.median(largest / largest.max())

    assert used(tmp_path / "fp32.onnx") < 0.1
    assert used(tmp_path / "rewritten.onnx") > 0.5


def graph_of(nodes, shape, constants=()):
    return helper.make_model(helper.make_graph(
        nodes, "graph", [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants]),
        opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize("nodes", [
    [helper.make_node("ReduceMean", ["image", "axes"], ["logits"], keepdims=1)],
    [helper.make_node("HardSigmoid", ["image"], ["gate"], alpha=0.3),
     helper.make_node("Mul", ["image", "gate"], ["logits"])],
])
def test_what_is_not_recognised_is_left_alone(tmp_path, nodes):
    onnx.save(graph_of(nodes, [1, 3, 8, 8], [("axes", np.array([1], np.int64))] if len(nodes) == 1 else ()),
              tmp_path / "odd.onnx")
    rewrites.integer_graph(tmp_path / "odd.onnx", noise(1, 8), tmp_path / "same.onnx")
    assert kinds(tmp_path / "same.onnx") == kinds(tmp_path / "odd.onnx")


def test_a_rewrite_that_changed_the_outputs_is_refused(tmp_path, monkeypatch):
    onnx.save(graph_of([helper.make_node("HardSwish", ["image"], ["logits"])], [1, 3, 8, 8]), tmp_path / "fp32.onnx")
    monkeypatch.setattr(rewrites._IntegerHardSwish, "rewrite", lambda self, op, x, **_: op.Relu(x))
    with pytest.raises(UserError, match="changed its outputs"):
        rewrites.integer_graph(tmp_path / "fp32.onnx", noise(1, 8), tmp_path / "out.onnx")


@pytest.mark.integer_kernels
@settings(max_examples=12, deadline=None)
@given(high=st.floats(3, 40), reduce_range=st.booleans())
def test_integer_hard_swish_is_within_one_step_for_every_byte(tmp_path_factory, high, reduce_range):
    folder = tmp_path_factory.mktemp("hardswish")
    eye = np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)
    conv = [helper.make_node("Conv", [source, "eye", "zero"], [target], name=target, kernel_shape=[1, 1])
            for source, target in (("image", "linear"), ("swished", "logits"))]
    swish = helper.make_node("HardSwish", ["linear"], ["swished"])
    onnx.save(graph_of([conv[0], swish, conv[1]], [1, 3, 16, 16],
                       [("eye", eye), ("zero", np.zeros(3, np.float32))]), folder / "fp32.onnx")
    ramp = np.resize(np.linspace(-8, high, 256, dtype=np.float32), (1, 3, 16, 16))
    quantization.prepare(folder / "fp32.onnx", folder / "prepared.onnx", ramp)
    quantization.calibrate(folder / "prepared.onnx", "minmax", [ramp], [], folder / "ranges.json", narrow=True)
    quantization.quantize(folder / "prepared.onnx", folder / "ranges.json", {**RECIPE, "reduce_range": reduce_range},
                          folder / "int8.onnx")
    # From the bytes that HardSwish reads to the bytes that it puts out, in integer kernels.
    model = onnx.load(folder / "int8.onnx")
    nodes = {name: node for node in model.graph.node for name in node.output}
    readers = {name: node for node in model.graph.node for name in node.input}
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    product = next(node for node in model.graph.node if node.op_type == "Mul")
    add = next(node for node in model.graph.node if node.op_type == "Add")
    source = nodes[next(name for name in add.input if nodes[name].input[0] not in constants)]
    target = readers[product.output[0]]
    extractor = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(model))
    part = extractor.extract_model([source.input[0]], [target.output[0]])
    every_byte = np.resize(np.arange(256, dtype=np.uint8), (1, 3, 16, 16))
    found = run(part.SerializeToString(), every_byte)
    scale, zero = (constants[name] for name in source.input[1:])
    x = (every_byte.astype(np.float64) - zero) * scale
    step, zero = (constants[name] for name in target.input[1:])
    expected = np.clip(x * np.clip(x + 3, 0, 6) / 6, (0 - float(zero)) * step, (255 - float(zero)) * step)
    assert np.abs((found.astype(np.float64) - zero) * step - expected).max() <= 1.001 * step
    assert {node.op_type for node in part.graph.node} <= {"QuantizeLinear", "DequantizeLinear", "Add", "Mul"}


@pytest.mark.parametrize(("kind", "curve", "gain"), [
    ("Sigmoid", lambda x: 1 / (1 + np.exp(-x)), 4), ("SiLU", lambda x: x / (1 + np.exp(-x)), 2)])
def test_a_narrowed_range_leaves_out_what_makes_no_difference(tmp_path, kind, curve, gain):
    """Inputs from -40 to 15, of which a sigmoid's count from -6.2 to 6.2, and a SiLU's from about -5 on."""
    eye = np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)
    first, last = (helper.make_node("Conv", [source, "eye", "zero"], [target], name=target, kernel_shape=[1, 1])
                   for source, target in (("image", "linear"), ("curved", "logits")))
    nodes = [helper.make_node("Sigmoid", ["linear"], ["curved" if kind == "Sigmoid" else "gate"])]
    if kind == "SiLU":
        nodes.append(helper.make_node("Mul", ["linear", "gate"], ["curved"]))
    onnx.save(graph_of([first, *nodes, last], [1, 3, 16, 16], [("eye", eye), ("zero", np.zeros(3, np.float32))]),
              tmp_path / "fp32.onnx")
    ramp = np.resize(np.linspace(-40, 15, 768, dtype=np.float32), (1, 3, 16, 16))
    quantization.prepare(tmp_path / "fp32.onnx", tmp_path / "prepared.onnx", ramp)
    bounds = {}
    for narrow in (False, True):
        quantization.calibrate(tmp_path / "prepared.onnx", "minmax", [ramp], [], tmp_path / "ranges.json",
                               narrow=narrow)
        bounds[narrow] = quantization.bounds(tmp_path / "ranges.json")
    (low, high), (least, most) = bounds[True]["linear"], bounds[True]["curved"]
    x = ramp.astype(np.float64)
    assert np.abs(curve(np.clip(x, low, high)) - curve(x)).max() <= 1.001 * (most - least) / 255 / 2
    assert np.ptp(bounds[False]["linear"]) == pytest.approx(55)
    assert high - low < 55 / gain
