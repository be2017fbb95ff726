"""Another activation: swapped, trained towards what the network was, and quantized."""

import numpy as np
import pandas as pd
import pytest
import small_network
import torch
from beansweep.data import preprocess
from beansweep.data.pixels import Selection
from beansweep.evaluation.agreement import Reference
from beansweep.models import onnx_session
from beansweep.quantization import onnx_graph, swapped_activations
from beansweep.quantization.activation_swap import Swap
from beansweep.quantization.not_applicable import NotApplicable
from small_network import PREPROCESSING, RECIPE
from torch import nn

SETTINGS = {
    "activations": "hardswish",
    "epochs": 6,
    "learning_rate": 0.003,
    "backbone": "resnet18",
    "device": "cpu",
    "batch_size": 16,
    "seed": 0,
}
CALIBRATIONS = {"minmax": {"method": "minmax", "images": 16, "seed": 0}}
BASE = {**RECIPE, "calibration": "minmax"}
COUNTS = {"train": 64, "val": 32}


class Pictures:
    """Images in memory, in place of a folder's."""

    def __init__(self):
        self.pixels, self.true = small_network.pictures(sum(COUNTS.values()), seed=0)
        splits = np.repeat(list(COUNTS), list(COUNTS.values()))
        paths = [str(number) for number in range(len(splits))]
        self.rows = pd.DataFrame({"path": paths, "class": self.true.astype(str), "split": splits})

    def select(self, paths, _preprocessing):
        return Selection(np.array([int(path) for path in paths]), 16, self.pixels.__getitem__)


@pytest.fixture
def network():
    """Random weights on normalised images: large enough that SiLU and HardSwish differ."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.SiLU()]
    block = nn.Sequential(nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16), nn.SiLU(inplace=True))
    model = nn.Sequential(*layers, block, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4))
    nn.init.normal_(model[-1].weight, std=3)
    return model.eval()


@pytest.fixture
def swap(network):
    images = Pictures()
    pixels = images.pixels[-COUNTS["val"] :]
    with torch.inference_mode():
        logits = network(torch.from_numpy(small_network.normalised(pixels))).numpy()
    true = images.true[-COUNTS["val"] :]
    reference = Reference(pixels, PREPROCESSING, preprocess.softmax(logits), true)
    return Swap(network, PREPROCESSING, images.rows, images, reference, "swap")


@pytest.mark.parametrize(("name", "kind"), [("hardswish", nn.Hardswish), ("relu", nn.ReLU)])
def test_every_silu_and_sigmoid_is_swapped_in_a_copy(network, name, kind):
    network[3].append(nn.Sigmoid())
    copy, counts = swapped_activations.swapped(network, name)
    assert counts == {"SiLU": 2, "Sigmoid": 1}
    assert isinstance(copy[2], kind)
    assert isinstance(copy[3][2], kind)
    assert isinstance(copy[3][3], nn.Hardsigmoid)
    assert isinstance(network[2], nn.SiLU)
    assert isinstance(network[3][2], nn.SiLU)
    assert isinstance(network[3][3], nn.Sigmoid)


def test_a_network_without_silu_has_nothing_to_swap():
    with pytest.raises(NotApplicable, match="it has no SiLU that hardswish could stand for"):
        swapped_activations.swapped(small_network.two_convolutions(), "hardswish")


def test_training_brings_the_swapped_network_nearer_to_what_it_was(swap, network, tmp_path):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    made = swap.quantize(SETTINGS, BASE, CALIBRATIONS, tmp_path / "resume.pt", "run")
    swapped, trained, quantized = made.recipe["trials"]
    assert trained["kl"] < 0.5 * swapped["kl"]
    assert quantized["kl"] < swapped["kl"]
    assert made.recipe["swapped"] == {"SiLU": 2, "Sigmoid": 0}
    assert made.recipe["activations"] == "hardswish"
    assert made.recipe["calibration"] == "minmax"
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    # No SiLU is left, and what is in the file is what was scored.
    kinds = {node.op_type for node in onnx_graph.from_proto(made.model).graph}
    assert not kinds & {"Sigmoid", "QuickGelu"}
    session = onnx_session.create(made.model.SerializeToString(), made.session)
    assert swap.reference.score(session)["kl"] == pytest.approx(quantized["kl"])


def test_a_killed_training_goes_on_to_the_same_file(swap, monkeypatch, tmp_path):
    def made(resume):
        return swap.quantize(SETTINGS, BASE, CALIBRATIONS, resume, "run").model.SerializeToString()

    whole = made(tmp_path / "whole.pt")

    def kill(line):
        if line.startswith("epoch 4"):
            raise KeyboardInterrupt

    monkeypatch.setattr(swap, "_report", kill)
    with pytest.raises(KeyboardInterrupt):
        made(tmp_path / "resume.pt")
    monkeypatch.undo()
    assert made(tmp_path / "resume.pt") == whole
