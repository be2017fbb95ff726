"""Backbones of both libraries by name: built, given the input they take, and quantized to INT8."""

import pytest
import torch
from beansweep.common.errors import UserError
from beansweep.models import backbones
from beansweep.settings import validation as checks

SETTINGS = {"weights": "none", "normalisation": "auto", "image_size": 112}
HALF = {"mean": [0.5] * 3, "std": [0.5] * 3}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """The list of all names, as a first check of a configuration leaves it."""
    path = tmp_path_factory.mktemp("cache") / "backbones.json"
    checks.check_backbones(["resnet18"], path)
    return path


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("timm/mobilone_s0", "timm/mobileone_s0"),
        ("ghostnet_100", "timm/ghostnet_100"),
        ("mobilenet_v3_smal@96", "mobilenet_v3_small"),
    ],
)
def test_an_unknown_name_suggests_a_near_one_of_either_library(cache, wrong, near):
    with pytest.raises(UserError, match=f"did you mean '{near}'"):
        checks.check_backbones([wrong], cache)


def test_known_names_need_no_library(cache, monkeypatch):
    monkeypatch.setattr(backbones, "known", lambda: pytest.fail("the libraries were asked"))
    checks.check_backbones(
        ["mobilenet_v2@96", "timm/mobilenetv4_conv_small.e2400_r224_in1k"], cache
    )


@pytest.mark.parametrize(
    ("backbone", "changes", "expected"),
    [
        ("mobilenet_v3_small", {}, backbones.IMAGENET),
        ("mobilenet_v3_small", {"normalisation": "half"}, HALF),
        ("timm/tf_mobilenetv3_small_minimal_100", {}, HALF),
        (
            "timm/tf_mobilenetv3_small_minimal_100",
            {"normalisation": "imagenet"},
            backbones.IMAGENET,
        ),
        ("timm/mobileone_s0", {}, backbones.IMAGENET),
    ],
)
def test_images_are_normalised_as_the_network_is_used_to(backbone, changes, expected):
    model = backbones.build(backbone, 3)
    assert backbones.preprocessing(model, {**SETTINGS, "backbone": backbone, **changes}) == {
        "image_size": 112,
        **expected,
    }


def test_torchvisions_weights_say_what_they_were_trained_with():
    with torch.device("meta"):
        model = torch.nn.Sequential(torch.nn.Linear(1, 1))
    settings = {**SETTINGS, "backbone": "efficientnet_v2_l"}
    assert backbones.preprocessing(model, settings) == {"image_size": 112, **backbones.IMAGENET}
    assert backbones.preprocessing(model, {**settings, "weights": "imagenet"}) == {
        "image_size": 112,
        **HALF,
    }


def test_a_network_of_one_image_size_is_fed_that():
    model = backbones.build("timm/vit_tiny_patch16_224", 3)
    settings = {**SETTINGS, "backbone": "timm/vit_tiny_patch16_224"}
    assert backbones.preprocessing(model, settings)["image_size"] == 224
    with pytest.raises(
        UserError, match=r"takes images of 224 pixels alone; name it timm/vit_tiny_patch16_224$"
    ):
        backbones.preprocessing(model, {**settings, "backbone": "timm/vit_tiny_patch16_224@96"})


@pytest.mark.parametrize(
    "name", ["mobilenet_v3_small", "efficientnet_b0", "squeezenet1_1", "resnet18"]
)
def test_a_new_network_is_undecided_between_few_classes(name):
    torch.manual_seed(0)
    model = backbones.build(name, 3).eval()
    probabilities = model(torch.randn(4, 3, 64, 64)).softmax(dim=1)
    assert (probabilities - 1 / 3).abs().max() < 0.2


@pytest.mark.parametrize(
    "backbone", ["timm/ghostnet_100", "timm/mobileone_s0", "timm/crossvit_9_240"]
)
def test_a_new_network_of_timm_has_a_head_that_is_undecided(backbone):
    torch.manual_seed(0)
    model = backbones.build(backbone, 3)
    for head in backbones.heads(model):
        assert len(model.get_submodule(head).weight) == 3
    probabilities = model(torch.randn(4, 3, *model.pretrained_cfg["input_size"][1:])).softmax(dim=1)
    assert (probabilities - 1 / 3).abs().max() < 0.2
