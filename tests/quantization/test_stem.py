"""The stem: narrow first layers stay in float."""

import numpy as np
import onnx_ir as ir
import pytest
import small_network
import torch
from beansweep.quantization import onnx_graph, session_entries, stem
from small_network import RECIPE
from torch import nn


class WithStem(nn.Module):
    """Narrow layers first, a residual addition and a squeeze-and-excitation gate among them."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.Hardswish())
        self.narrow = nn.Conv2d(16, 16, 1)
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 16, 1), nn.Hardsigmoid()
        )
        self.wide = nn.Sequential(nn.Conv2d(16, 48, 1), nn.Hardswish(), nn.Conv2d(48, 16, 1))
        self.last = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4))

    def forward(self, x):
        x = self.first(x)
        x = x + self.narrow(x)
        x = x * self.squeeze(x)
        return self.last(x + self.wide(x))


@pytest.mark.integer_kernels
def test_the_stem_stays_in_float_and_all_else_is_in_integers(tmp_path, reduce_range):
    torch.manual_seed(0)
    small_network.export(WithStem(), 16, tmp_path / "fp32.onnx")
    images = small_network.noise(8, 16)
    prepared = small_network.prepare(tmp_path / "fp32.onnx", images)
    ranges = small_network.calibrate(prepared, images, narrow_ranges=True)
    model = small_network.quantize(prepared, ranges, {**RECIPE, "reduce_range": reduce_range})
    kept = [layer.name for layer in stem.of(prepared.graph)]
    assert kept == ["first.0", "narrow", "squeeze.1"]
    quantized = dict(onnx_graph.quantized_layers(model.graph))
    for node in model.graph:
        if node.op_type in ("Conv", "Gemm"):
            weight = onnx_graph.constant(node.inputs[1])
            assert (weight is not None and weight.dtype == np.float32) == (node.name in kept)
            assert (node in quantized) == (node.name not in kept)
    for weights in quantized.values():
        assert onnx_graph.constant(weights.inputs[0]).dtype == np.int8
    # No layer in float reads bytes, so nothing has to be told to ONNX Runtime, and it leaves the
    # stem alone.
    assert session_entries.of(ir.to_proto(model)) == {}
    exact = small_network.logits(tmp_path / "fp32.onnx", images)
    found = small_network.logits(model, images)
    assert np.abs(found - exact).max() < 0.05 * np.ptp(exact)


def test_a_network_of_narrow_layers_alone_has_no_stem(tmp_path):
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    small_network.export(network, 8, tmp_path / "fp32.onnx")
    assert stem.of(ir.load(tmp_path / "fp32.onnx").graph) == []
