"""Backbones of both libraries by name: built, given the input they take, and quantized to INT8."""

import pytest
import torch
import torchvision
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
    assert backbones.preprocessing({**SETTINGS, "backbone": backbone, **changes}) == {
        "image_size": 112,
        **expected,
    }


def test_torchvisions_weights_say_what_they_were_trained_with():
    settings = {**SETTINGS, "backbone": "efficientnet_v2_l"}
    assert backbones.preprocessing(settings) == {"image_size": 112, **backbones.IMAGENET}
    assert backbones.preprocessing({**settings, "weights": "imagenet"}) == {
        "image_size": 112,
        **HALF,
    }


def test_a_network_of_one_image_size_is_fed_that():
    settings = {**SETTINGS, "backbone": "timm/vit_tiny_patch16_224"}
    assert backbones.preprocessing(settings)["image_size"] == 224
    with pytest.raises(
        UserError, match=r"takes images of 224 pixels alone; name it timm/vit_tiny_patch16_224@224$"
    ):
        backbones.preprocessing({**settings, "backbone": "timm/vit_tiny_patch16_224@96"})


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


@pytest.mark.parametrize(
    ("backbone", "wanted", "size"),
    [("vit_b_16", 96, 96), ("vit_b_16", 100, 96), ("vit_b_32", 48, 64), ("maxvit_t", 96, 224)],
)
def test_a_network_that_is_built_for_one_size_gets_the_nearest_that_it_takes(
    backbone, wanted, size
):
    settings = {**SETTINGS, "backbone": backbone, "image_size": wanted}
    assert backbones.preprocessing(settings)["image_size"] == size
    named = {**settings, "backbone": f"{backbone}@{wanted}"}
    if wanted == size:
        assert backbones.preprocessing(named)["image_size"] == size
    else:
        with pytest.raises(UserError, match=f"multiple of .* name it {backbone}@{size}$"):
            backbones.preprocessing(named)


@pytest.mark.parametrize("backbone", ["vit_b_16", "maxvit_t"])
def test_networks_that_are_built_for_one_size_run_at_it(backbone):
    size = backbones.preprocessing({**SETTINGS, "backbone": backbone})["image_size"]
    with torch.device("meta"):
        model = backbones.build(backbone, 3, size)
        assert model(torch.zeros(1, 3, size, size)).shape == (1, 3)


@pytest.mark.parametrize("backbone", ["googlenet", "inception_v3"])
def test_networks_that_scale_their_input_for_torchvisions_weights_get_it_scaled(backbone):
    """torchvision's own transform of ImageNet's scale is the scale of 0.5 and 0.5."""
    source = torchvision.models.get_model(
        backbone, weights=None, init_weights=False, transform_input=True
    )
    pixels = torch.rand(1, 3, 4, 4)
    mean, std = (torch.tensor(backbones.IMAGENET[key]) for key in ("mean", "std"))
    shape = (1, 3, 1, 1)
    scaled = source._transform_input((pixels - mean.reshape(shape)) / std.reshape(shape))
    settings = {**SETTINGS, "backbone": backbone}
    assert backbones.preprocessing(settings) == {"image_size": 112, **backbones.IMAGENET}
    chosen = backbones.preprocessing({**settings, "weights": "file.pth"})
    assert chosen == {"image_size": 112, **HALF}
    assert torch.allclose(scaled, (pixels - 0.5) / 0.5, atol=1e-6)
