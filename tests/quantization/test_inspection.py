"""What is said of a backbone before its training."""

import pytest
import small_network
from beansweep.common.errors import UserError
from beansweep.models import backbones
from beansweep.quantization import fake_quantization, inspection
from beansweep.quantization.not_applicable import NotApplicable
from small_network import RECIPE

SETTINGS = {"backbone": "resnet18", "image_size": 24, "normalisation": "auto", "weights": "none"}
RECIPES = {
    "int8_static": {**RECIPE, "calibration": ["minmax", "entropy"], "rounding": "gptq"},
    "int8_plain": {**RECIPE, "calibration": ["percentile"], "integer_rewrites": False},
    "int8_mixed": {"quantizer": "mixed", "base": "int8_static"},
    "int8_qat": {"quantizer": "qat", "base": "int8_static", "epochs": 1, "travel": 0.1},
    "int8_weight_only": {
        "quantizer": "weight_only",
        "calibration": ["minmax"],
        "rounding": "gptq",
        "bias_correction": True,
    },
}


@pytest.fixture(autouse=True)
def small_backbone(monkeypatch):
    """In place of any backbone, a network of two convolutions."""
    monkeypatch.setattr(backbones, "build", lambda *_: small_network.two_convolutions())


def refuse(error):
    def quantize(*_):
        raise error

    return quantize


def test_a_backbone_is_described_and_every_variant_tried():
    found = inspection.inspect(SETTINGS, RECIPES, 3)
    assert found["image_size"] == 24
    assert found["parameters"] == 3 * 8 * 9 + 8 + 2 * 8 + 8 * 8 + 8 + 8 * 3 + 3
    assert (found["operators"]["Conv"], found["operators"]["HardSwish"]) == (2, 1)
    assert found["unavailable"] == {}
    assert found["undone_rewrites"] == []
    assert "Gemm" not in found["float_operators"]


def test_what_a_quantizer_cannot_serve_is_a_reason_and_so_for_what_starts_from_it(monkeypatch):
    monkeypatch.setitem(inspection.QUANTIZERS, "static", refuse(NotApplicable("no kernel")))
    found = inspection.inspect(SETTINGS, RECIPES, 3)["unavailable"]
    assert set(found) == set(RECIPES) - {"int8_weight_only"}
    assert found["int8_static"] == "no kernel"
    assert found["int8_qat"] == "it starts from int8_static, which is not available"


def test_what_torch_computes_otherwise_is_refused_before_the_training(monkeypatch):
    monkeypatch.setattr(fake_quantization, "_TOLERANCE", -1)
    found = inspection.inspect(SETTINGS, RECIPES, 3)["unavailable"]
    assert list(found) == ["int8_qat"]
    assert "computes this network otherwise than ONNX Runtime does" in found["int8_qat"]


def test_a_network_without_the_activation_is_refused_the_swap():
    swap = {"quantizer": "activation_swap", "base": "int8_static", "activations": "hardswish"}
    found = inspection.inspect(SETTINGS, {**RECIPES, "int8_hardswish": swap}, 3)["unavailable"]
    assert found == {"int8_hardswish": "it has no SiLU that hardswish could stand for"}


def test_a_failure_without_a_reason_says_how_to_go_without_the_variant(monkeypatch):
    monkeypatch.setitem(inspection.QUANTIZERS, "weight_only", refuse(KeyError("MatMul")))
    words = (
        r"^resnet18@24 fails in int8_weight_only \(KeyError: 'MatMul'\): leave that out with "
        r"overrides: \{resnet18: \{variants: \{int8_weight_only: null\}\}\}$"
    )
    with pytest.raises(UserError, match=words):
        inspection.inspect({**SETTINGS, "backbone": "resnet18@24"}, RECIPES, 3)


def test_an_image_that_is_too_small_is_refused_with_a_size_that_is_not():
    with pytest.raises(UserError, match=r"not take images of 2 pixels.*resnet18: \{image_size: 32"):
        inspection.inspect({**SETTINGS, "image_size": 2}, RECIPES, 3)
