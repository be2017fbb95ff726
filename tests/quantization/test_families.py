"""Families: a small network of each goes through every quantizer."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import families
import numpy as np
import onnx_ir as ir
import pytest
import small_network
import torch
from beansweep.data import preprocess
from beansweep.data.pixels import Folder
from beansweep.evaluation import agreement
from beansweep.models import backbones
from beansweep.quantization import (
    dynamic,
    mixed,
    onnx_graph,
    qat,
    sensitivity,
    static,
    undone_rewrites,
    weight_only,
)
from beansweep.quantization.sources import Sources
from small_network import RECIPE

PREPROCESSING = {"image_size": families.SIZE, "mean": [0.5] * 3, "std": [0.25] * 3}
RECIPE = {**RECIPE, "calibration": ["minmax"], "rounding": "gptq", "bias_correction": True}


class Case:
    """A family's network, exported and prepared, with images and its own answers on them."""

    def __init__(self, family):
        rng = np.random.default_rng(0)
        self.pixels = rng.integers(0, 256, (16, families.SIZE, families.SIZE, 3), np.uint8)
        self.inputs = preprocess.normalise(self.pixels, PREPROCESSING)
        with TemporaryDirectory() as folder:
            path = Path(folder, "fp32.onnx")
            small_network.export(backbones.fused(families.build(family)), families.SIZE, path)
            self.logits = small_network.logits(path, self.inputs)
            self.prepared = small_network.prepare(path, self.inputs)
        ranges = small_network.calibrate(self.prepared, self.inputs, narrow_ranges=True)
        self.bounds = ranges.bounds()
        self.sources = Sources({"minmax": ranges}, Folder(Path()), PREPROCESSING)
        self.sources.inputs = self.inputs
        probabilities = preprocess.softmax(self.logits)
        true = probabilities.argmax(axis=1)
        self.reference = agreement.Reference(self.pixels, PREPROCESSING, probabilities, true)
        self.sources.validation = self.reference
        self.static = static.quantize(self.prepared, RECIPE, self.sources)

    def error(self, model, session=None):
        """Root mean square difference from the network's logits, as a share of their spread."""
        found = small_network.logits(model, self.inputs, session)
        return np.sqrt(np.mean((found - self.logits) ** 2)) / self.logits.std()


case = cache(Case)
every_family = pytest.mark.parametrize("family", families.FAMILIES)


@every_family
def test_every_rewrite_fits_and_the_prepared_network_is_the_same(family):
    assert undone_rewrites.read(case(family).prepared) == []
    assert case(family).error(case(family).prepared) < 1e-4


@every_family
def test_static_and_weight_only_stay_near_and_dynamic_runs(family):
    its = case(family)
    assert its.error(its.static.model, its.static.session) < 0.25
    stored = weight_only.quantize(its.prepared, RECIPE, its.sources)
    assert its.error(stored.model, stored.session) < 0.05
    layers = [node for node in its.prepared.graph if onnx_graph.is_layer(node)]
    assert len(onnx_graph.quantized_layers(ir.from_proto(stored.model).graph)) == len(layers)
    assert its.error(dynamic.quantize(its.prepared, RECIPE, its.sources).model) < 0.5


@every_family
def test_sensitivity_ranks_every_layer_and_mixed_takes_all_of_them_to_float(family):
    its = case(family)
    few = agreement.Reference(its.pixels[:4], PREPROCESSING, its.reference.probabilities[:4])
    quantized = onnx_graph.from_proto(its.static.model)
    table = sensitivity.table(
        its.prepared, quantized, its.bounds, few, its.inputs[:4], "test", True
    )
    layers = {layer.name for layer, _ in onnx_graph.quantized_layers(quantized.graph)}
    assert set(table["layer"]) == layers
    assert np.isfinite(table["kl"]).all()
    # No drop is small enough, so every layer goes back to float.
    recipe = {**RECIPE, "calibration": "minmax", "max_accuracy_drop": -1}
    ranking = table["layer"].tolist()
    result = mixed.quantize(its.prepared, recipe, its.sources, its.static.model, ranking)
    assert set(result.recipe["float_layers"]) == layers
    assert its.error(result.model, result.session) < 0.1


@every_family
def test_quantization_aware_training_knows_every_operator(family, tmp_path):
    its = case(family)
    assert qat.unsupported(its.prepared) == []
    settings = {**RECIPE, "epochs": 1, "travel": 0.1, "device": "cpu"}
    settings |= {"batch_size": 8, "seed": 0}
    pixels = torch.from_numpy(its.pixels)
    saved = tmp_path / "resume.pt"
    result = qat.quantize(
        its.prepared, settings, its.static.model, pixels, its.reference, "test", saved, "run"
    )
    assert its.error(result.model, result.session) < 0.25
    assert [trial["epoch"] for trial in result.recipe["trials"]] == [0, 1]


def test_the_recipe_says_what_costs_time_beyond_the_layers():
    assert "grouped_layers" not in case("depthwise").static.recipe
    grouped = case("grouped")
    assert "grouped_layers" not in grouped.static.recipe
    # As it is, without what keeps those in float.
    plain = RECIPE | {"integer_rewrites": False, "rounding": "nearest"}
    result = static.quantize(grouped.prepared, plain, grouped.sources)
    assert result.recipe["grouped_layers"] == 2
    assert "conversions" not in case("convolution").static.recipe
    attention = case("attention").static.recipe
    assert attention["conversions"] > len(attention["float_operators"]) > 0
    assert "LayerNormalization" in attention["float_operators"]
