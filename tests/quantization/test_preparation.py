"""Preparation: every node has a name, and each layer that of its weights."""

import small_network
import torch
from beansweep.quantization import onnx_graph
from torch import nn


class SharedWeights(nn.Module):
    """A network that uses one of its layers twice."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 1)
        self.shared = nn.Conv2d(8, 8, 1)

    def forward(self, x):
        x = self.shared(self.shared(self.first(x)).relu())
        return x.mean((2, 3))


def test_layers_are_named_after_their_weights_and_no_name_is_given_twice(tmp_path):
    torch.manual_seed(0)
    small_network.export(SharedWeights(), 8, tmp_path / "fp32.onnx")
    prepared = small_network.prepare(tmp_path / "fp32.onnx")
    names = [node.name for node in prepared.graph]
    assert all(names)
    assert len(set(names)) == len(names)
    first, second, third = onnx_graph.layers(prepared.graph)
    assert (first, second) == ("first", "shared")
    assert third.startswith("shared_")
