"""Quantization-aware training: what it learns runs, and what it made worse is not kept."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import small_network
import torch
import yaml
from beansweep.common import progress
from beansweep.models import onnx_session, training
from beansweep.quantization import onnx_graph, qat
from small_network import RECIPE

pytest_plugins = ["trained_network"]

SETTINGS = {"epochs": 2, "travel": 0.5, "device": "cpu", "batch_size": 32, "seed": 0}


def damaged(model, shift):
    """A quantized model with its weights off by up to so many steps."""
    rng = np.random.default_rng(0)
    for value in model.graph.initializers.values():
        steps = onnx_graph.constant(value)
        if steps.dtype == np.int8 and steps.ndim > 1:
            off = steps.astype(int) + rng.integers(-shift, shift + 1, steps.shape)
            onnx_graph.set_constant(value, np.clip(off, -64, 64).astype(np.int8))
    return ir.to_proto(model)


@pytest.fixture
def quantized(prepared, minmax):
    return small_network.quantize(prepared, minmax, RECIPE)


@pytest.fixture
def train(prepared, reference, tmp_path):
    """Trains a quantized model, and gives the trained one and the trials."""

    def train(base, images, settings, resume="resume.pt"):
        pixels = training_pixels(images)
        made = qat.quantize(
            prepared, settings, base, pixels, reference, "test", tmp_path / resume, "run"
        )
        return made.model, made.recipe

    return train


def training_pixels(count):
    return torch.from_numpy(small_network.pictures(count, seed=5)[0])


def test_training_repairs_what_quantization_broke(quantized, train, reference):
    base = damaged(quantized, shift=20)
    model, recipe = train(base, 512, {**SETTINGS, "epochs": 4, "travel": 1.5})
    trials = recipe["trials"]
    assert [trial["epoch"] for trial in trials] == [0, 1, 2, 3, 4]
    best = min(trials, key=lambda trial: trial["kl"])
    assert best["kl"] < trials[0]["kl"] / 3
    assert (trials[0]["weights_moved"], trials[0]["biases_moved"]) == (0, 0)
    start = small_network.layer_weights(ir.from_proto(base))
    learned = small_network.layer_weights(ir.from_proto(model))
    moved = sum(int((start[name] != learned[name]).sum()) for name in start)
    assert best["weights_moved"] == moved > 0
    session = onnx_session.create(model.SerializeToString())
    assert reference.score(session)["kl"] == pytest.approx(best["kl"])
    assert [node.op_type for node in model.graph.node] == [node.op_type for node in base.graph.node]
    # 7-bit weights stay 7-bit weights.
    for array in small_network.constants(ir.from_proto(model)).values():
        assert array.dtype != np.int8 or np.abs(array.astype(int)).max() <= 64
    assert abs(model.ByteSize() - base.ByteSize()) < 200


def test_at_the_defaults_weights_move(quantized, train):
    config = yaml.safe_load(Path("config.yaml").read_text())
    recipe = {**SETTINGS, **config["variants"]["int8_qat"], "batch_size": 8}
    _, made = train(ir.to_proto(quantized), 512, recipe)
    start, *_, last = made["trials"]
    assert start["weights_moved"] == 0
    assert 0.001 * last["weights"] < last["weights_moved"] < 0.1 * last["weights"]


def test_no_weight_moves_by_more_than_its_travel(quantized, train):
    """Those that move lie next to the middle between two steps."""
    base = ir.to_proto(quantized)
    few, many = (
        train(base, 256, {**SETTINGS, "travel": travel}, f"{travel}") for travel in (0.02, 0.4)
    )
    last = [made["trials"][-1]["weights_moved"] for _, made in (few, many)]
    assert 0 < last[0] < last[1] / 4
    start = small_network.layer_weights(ir.from_proto(base))
    learned = small_network.layer_weights(ir.from_proto(many[0]))
    for name, steps in start.items():
        assert np.abs(learned[name].astype(int) - steps).max() <= 1


def test_a_killed_training_goes_on_to_the_same_file(quantized, train, monkeypatch):
    base = damaged(quantized, shift=20)
    settings = {**SETTINGS, "epochs": 3}
    whole, recipe = train(base, 64, settings, "whole.pt")

    def kill(steps, title):
        if title.endswith("epoch 3"):
            raise KeyboardInterrupt
        return steps

    monkeypatch.setattr(progress, "track", kill)
    with pytest.raises(KeyboardInterrupt):
        train(base, 64, settings)
    monkeypatch.undo()
    lines = []
    monkeypatch.setattr(progress, "say", lines.append)
    again, found = train(base, 64, settings)
    assert lines[0] == "test: going on after epoch 2"
    assert again.SerializeToString() == whole.SerializeToString()
    assert found == recipe


def test_a_device_that_cannot_compute_it_leaves_it_to_the_processor(quantized, train, monkeypatch):
    base, settings = damaged(quantized, shift=20), {**SETTINGS, "epochs": 1}
    expected, _ = train(base, 64, settings, "cpu.pt")
    lines = []
    monkeypatch.setattr(progress, "say", lines.append)
    # A device that knows shapes and no numbers.
    monkeypatch.setattr(training, "choose_device", lambda name: torch.device("meta"))
    model, _ = train(base, 64, settings)
    assert lines[0].startswith("test: on the processor, as meta cannot do it: ")
    assert model.SerializeToString() == expected.SerializeToString()


def test_what_training_made_worse_is_not_kept(quantized, train):
    base = ir.to_proto(quantized)
    model, recipe = train(base, 64, {**SETTINGS, "travel": 10})
    assert min(recipe["trials"], key=lambda trial: trial["kl"])["epoch"] == 0
    assert recipe["equals_base"]
    assert model.SerializeToString() == base.SerializeToString()


def test_a_training_that_changes_nothing_keeps_the_base(quantized, train):
    """Both are equally near to FP32: the file and the metadata are those of the base."""
    base = ir.to_proto(quantized)
    model, recipe = train(base, 32, {**SETTINGS, "epochs": 1, "travel": 1e-9})
    first, last = recipe["trials"]
    assert first["kl"] == last["kl"]
    assert recipe["equals_base"]
    assert model.SerializeToString() == base.SerializeToString()


def test_the_same_seed_trains_the_same_model(quantized, train):
    base = damaged(quantized, shift=20)
    found = [train(base, 64, {**SETTINGS, "epochs": 1}, resume)[0] for resume in ("a", "b")]
    assert found[0].SerializeToString() == found[1].SerializeToString()
