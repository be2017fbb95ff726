"""Sensitivity: every layer by name, the worst first, as the quantizer and the kernels treat it."""

import numpy as np
import pytest
import small_network
import torch
from beansweep.analysis import accuracy_drop
from beansweep.evaluation import agreement
from beansweep.models import onnx_session
from beansweep.quantization import onnx_graph, sensitivity, session_entries
from conftest import kernels_saturate
from small_network import RECIPE
from torch import nn

pytest_plugins = ["trained_network"]


@pytest.mark.integer_kernels
@pytest.mark.parametrize(("reads", "writes"), [(0, []), (-1, [-2])])
def test_sensitivity_names_every_layer_and_puts_a_bad_range_first(
    prepared, minmax, reference, reads, writes
):
    """A bad range of what a layer reads hurts this layer, and as much the one that puts it out."""
    model = small_network.quantize(prepared, minmax, RECIPE)
    layers = list(onnx_graph.layers(prepared.graph))
    worst = layers[reads]
    read = next(node.inputs[0].name for node in prepared.graph if node.name == worst)
    bounds = minmax.bounds()
    bounds[read] = (bounds[read][0], bounds[read][1] / 50)
    few = agreement.Reference(
        reference.inputs[:16], reference.preprocessing, reference.probabilities[:16]
    )
    inputs = small_network.normalised(few.inputs)
    table = sensitivity.table(prepared, model, bounds, few, inputs, "test", True)
    assert set(table["layer"]) == set(layers)
    assert table["kl"].is_monotonic_decreasing
    hurt = {worst, *(layers[index] for index in writes)}
    assert set(table["layer"][: len(hurt)]) == hurt
    assert table["kl"].iloc[len(hurt)] < 0.01 * table["kl"].iloc[len(hurt) - 1]
    reader = table[table["layer"] == worst]
    assert reader["clipped"].item() > 0.2
    figures = {"kernel_agreement": 1, "quantization_agreement": 0.5}
    assert "clip" in accuracy_drop.finding(figures, RECIPE, "AVX2", reader)


@pytest.mark.integer_kernels
def test_sensitivity_is_what_the_quantizer_does_to_a_layer_alone(prepared, minmax, reference):
    """Against ONNX Runtime's own quantization of one layer at a time, in integer kernels."""
    model = small_network.quantize(prepared, minmax, RECIPE)
    inputs = small_network.normalised(reference.inputs[:16])
    table = sensitivity.table(prepared, model, minmax.bounds(), reference, inputs, "test", True)
    table = table.set_index("layer")["kl"]
    alone = {}
    for layer, nodes in onnx_graph.layers(prepared.graph).items():
        others = [node.name for node in prepared.graph if node.name not in nodes]
        quantized = small_network.quantize(prepared, minmax, RECIPE, others)
        session = onnx_session.create(small_network.saved(quantized), session_entries.KEEP_FLOAT)
        alone[layer] = reference.score(session)["kl"]
    assert list(table.index) == sorted(alone, key=alone.get, reverse=True)
    # Alone, a layer's scales are a percent smaller or larger than next to others (see
    # `exact_scales`), and what that does to its rounding moves so small a divergence by half.
    np.testing.assert_allclose(
        np.log(table), np.log([alone[layer] for layer in table.index]), atol=np.log(2.5)
    )


@pytest.fixture
def saturating(tmp_path):
    """A dense layer with inputs and weights as large as they can be: prepared; its images."""
    network = nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    with torch.no_grad():
        for layer in (network[0], network[2]):
            layer.weight.fill_(1)
            layer.bias.zero_()
        network[2].weight[2:] = -1
    small_network.export(network, 8, tmp_path / "fp32.onnx")
    images = np.random.default_rng(0).uniform(0.9, 1, (8, 3, 8, 8)).astype(np.float32)
    return small_network.prepare(tmp_path / "fp32.onnx"), images


@pytest.mark.integer_kernels
@pytest.mark.parametrize("reduce_range", [False, True])
def test_kernel_error_is_seen_on_a_saturating_layer(saturating, reduce_range):
    prepared, images = saturating
    recipe = {**RECIPE, "integer_rewrites": False, "reduce_range": reduce_range}
    ranges = small_network.calibrate(prepared, images)
    model = small_network.quantize(prepared, ranges, recipe)
    shares = sensitivity.saturating_share(model, images)
    # Pairs of 255 * 127 overflow 16 bits; pairs of 255 * 64 do not. The image's third channel has
    # no partner.
    assert list(shares.values()) == ([0, 0] if reduce_range else [0.5, 1])
    found = small_network.logits(model, images)
    exact = small_network.logits(model, images, float_kernels=True)
    error = np.abs(found - exact).max() / np.abs(exact).max()
    if not reduce_range and kernels_saturate():
        assert error > 0.2
    else:
        assert error < 0.02


def test_pairs_are_counted_within_the_groups_of_a_convolution(tmp_path):
    """In one group, weights of one sign add up; in the other, they cancel out."""
    network = nn.Sequential(
        nn.Conv2d(3, 4, 1),
        nn.ReLU(),
        nn.Conv2d(4, 4, 1, groups=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    with torch.no_grad():
        for layer in (network[0], network[2]):
            layer.weight.fill_(1)
            layer.bias.zero_()
        network[2].weight[2:, 1] = -1
    small_network.export(network, 8, tmp_path / "fp32.onnx")
    images = np.random.default_rng(0).uniform(0.9, 1, (4, 3, 8, 8)).astype(np.float32)
    prepared = small_network.prepare(tmp_path / "fp32.onnx")
    ranges = small_network.calibrate(prepared, images)
    recipe = {**RECIPE, "integer_rewrites": False, "reduce_range": False}
    model = small_network.quantize(prepared, ranges, recipe)
    assert sensitivity.saturating_share(model, images)["2"] == 0.5
