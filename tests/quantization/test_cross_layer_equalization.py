"""Cross-layer equalization: channels share one range better, and the function stays."""

import numpy as np
import onnx_ir as ir
import small_network
import torch
from beansweep.quantization import activations, integer_rewrites
from torch import nn


def test_channels_are_scaled_to_one_range(tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, groups=16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Conv2d(16, 3, 1),
        nn.Flatten(),
    )
    with torch.no_grad():
        network[0].weight *= torch.logspace(-1.5, 1.5, 16).reshape(-1, 1, 1, 1)
        network[0].bias.zero_()
    small_network.export(network, 8, tmp_path / "fp32.onnx")
    images = small_network.noise(6, 8)

    def used(model):
        relu = next(node for node in model.graph if node.op_type == "Relu")
        name = relu.outputs[0].name
        values = np.concatenate([found[name] for found in activations.of(model, [name], images)])
        largest = values.max(axis=(0, 2, 3))
        return np.median(largest / largest.max())

    assert used(ir.load(tmp_path / "fp32.onnx")) < 0.1
    rewritten, _ = integer_rewrites.rewrite(ir.load(tmp_path / "fp32.onnx"), images)
    assert used(rewritten) > 0.5
