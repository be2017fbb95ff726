"""CUDA graphs: a captured network computes what it did, and one that cannot be captured stays."""

import contextlib

import pytest
import torch
from beansweep.common import progress
from beansweep.models import backbones, cuda_graphs, training
from test_training import SETTINGS
from torch import nn

PIXELS = torch.randint(0, 256, (32, 32, 32, 3), dtype=torch.uint8)
NETWORK = "densenet121"


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()


def runs_and_fails(error):
    """A stand-in for PyTorch's capture: its trial runs change statistics, then it may fail."""

    def capture(model, arguments):
        model.forward = lambda inputs: "from a graph"
        nn.Sequential.forward(model, *arguments).sum().backward()
        if error:
            raise error

    return capture


@pytest.mark.parametrize("error", [None, RuntimeError("operation not permitted\nwhen capturing")])
def test_a_capture_leaves_weights_statistics_and_gradients_as_they_were(
    network, monkeypatch, error
):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    told = []
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", runs_and_fails(error))
    monkeypatch.setattr(progress, "say", told.append)
    inputs = torch.rand(2, 3, 8, 8)
    cuda_graphs.capture(network, inputs, contextlib.nullcontext())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in network.parameters())
    if error:
        assert network(inputs).shape == (2, 4, 6, 6)
        assert told == [
            "train: no CUDA graph, so each kernel is launched by itself: operation not permitted"
        ]
    else:
        assert network(inputs) == "from a graph"
        cuda_graphs.release(network)
        assert network(inputs).shape == (2, 4, 6, 6)
        assert not told


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU of CUDA")
def test_a_captured_training_has_the_losses_of_one_that_is_not(monkeypatch):
    split = training.Split(PIXELS, torch.arange(32) % 2)

    def losses():
        torch.manual_seed(0)
        model = backbones.build(NETWORK, 2)
        settings = {**SETTINGS, "backbone": NETWORK, "device": "cuda"}
        preprocessing = {"image_size": 32, **backbones.IMAGENET}
        trainer = training.Trainer(model, settings, preprocessing, split, 2)
        return [trainer.train_epoch(epoch) for epoch in (1, 2)]

    captured = losses()
    monkeypatch.setattr(cuda_graphs, "capture", lambda *arguments: None)
    assert captured == pytest.approx(losses(), rel=1e-3)
