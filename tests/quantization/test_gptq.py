"""GPTQ: outputs nearer than with nearest rounding."""

from io import StringIO

import numpy as np
import small_network
from beansweep.common import progress
from beansweep.quantization import gptq, onnx_graph, static
from small_network import RECIPE

pytest_plugins = ["trained_network"]


def square_error(weights, exact, moments):
    """Mean square error of a layer's outputs, by the second moments of its inputs."""
    error = (weights - exact).reshape(len(moments), -1, moments.shape[-1])
    return np.einsum("god,gde,goe->", error, moments, error)


def test_gptq_keeps_outputs_nearer_than_nearest_and_moves_no_weight_far(prepared, minmax):
    """By the measure that it goes by, for every layer: the mean square error of its outputs."""
    images = small_network.normalised(small_network.pictures(64, seed=4)[0])
    moments = gptq.second_moments(prepared, images)
    model = small_network.quantize(prepared, minmax, {**RECIPE, "reduce_range": True})
    exact, nearest = small_network.layer_weights(prepared), small_network.layer_weights(model)
    gptq.Rounding(prepared, images).apply(model)
    rounded = small_network.layer_weights(model)
    assert set(moments) == set(exact) == set(rounded)
    before, after = 0, 0
    for name, second in moments.items():
        before += square_error(nearest[name], exact[name], second)
        after += square_error(rounded[name], exact[name], second)
        moved = np.abs(rounded[name] - exact[name]).max()
        assert moved < 8 * np.abs(nearest[name] - exact[name]).max()
    assert after < 0.7 * before


def test_a_layer_that_reads_too_much_is_rounded_to_nearest_and_named(
    prepared, sources, monkeypatch
):
    """A layer with 27 or fewer inputs of one output has few enough moments here."""
    said = StringIO()
    monkeypatch.setattr(progress, "_terminal", said)
    monkeypatch.setattr(gptq, "_MOST_MOMENTS", 12 * 27**2)
    recipe = {**RECIPE, "calibration": ["minmax"]}
    nearest = static.quantize(prepared, recipe, sources)
    assert "nearest_rounding" not in nearest.recipe
    monkeypatch.setattr(gptq, "_MOST_MOMENTS", 20**2)
    found = static.quantize(prepared, {**recipe, "rounding": "gptq"}, sources)
    wide = found.recipe["nearest_rounding"]
    assert len(wide) == 3
    assert all(name in said.getvalue() for name in wide)
    before = small_network.layer_weights(onnx_graph.from_proto(nearest.model))
    after = small_network.layer_weights(onnx_graph.from_proto(found.model))
    for name, weights in before.items():
        assert np.array_equal(weights, after[name]) == (name in wide)
