"""Quantization-aware training: what it learns runs, and what it made worse is not kept."""

import numpy as np
import onnx_ir as ir
import pytest
import small_network
import torch
from beansweep.models import onnx_session
from beansweep.quantization import onnx_graph, qat
from small_network import RECIPE

pytest_plugins = ["trained_network"]

SETTINGS = {"epochs": 2, "learning_rate": 0.02, "batch_size": 32, "seed": 0}


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


def training_pixels(count):
    return torch.from_numpy(small_network.pictures(count, seed=5)[0])


def test_training_repairs_what_quantization_broke(prepared, quantized, reference):
    base = damaged(quantized, shift=20)
    settings = {**SETTINGS, "epochs": 4}
    model, trials = qat.train(prepared, base, training_pixels(512), reference, settings, "test")
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


def test_what_training_made_worse_is_not_kept(prepared, quantized, reference):
    base = ir.to_proto(quantized)
    settings = {**SETTINGS, "learning_rate": 1.0}
    model, recipe, _ = qat.quantize(
        prepared, settings, base, training_pixels(64), reference, "test"
    )
    assert min(recipe["trials"], key=lambda trial: trial["kl"])["epoch"] == 0
    assert recipe["equals_base"]
    assert model.SerializeToString() == base.SerializeToString()


def test_a_training_that_changes_nothing_keeps_the_base(prepared, quantized, reference):
    """Both are equally near to FP32: the file and the metadata are those of the base."""
    base = ir.to_proto(quantized)
    settings = {**SETTINGS, "epochs": 1, "learning_rate": 1e-9}
    model, recipe, _ = qat.quantize(
        prepared, settings, base, training_pixels(32), reference, "test"
    )
    first, last = recipe["trials"]
    assert first["kl"] == last["kl"]
    assert recipe["equals_base"]
    assert model.SerializeToString() == base.SerializeToString()


def test_the_same_seed_trains_the_same_model(prepared, quantized, reference):
    base = damaged(quantized, shift=20)
    settings = {**SETTINGS, "epochs": 1}
    found = []
    for _ in range(2):
        model, _ = qat.train(prepared, base, training_pixels(64), reference, settings, "test")
        found.append(model.SerializeToString())
    assert found[0] == found[1]
