"""Backbones of both libraries by name: built, fed, started from weights, and carried through the chain to INT8."""

import export_fp32
import numpy as np
import pytest
import timm
import torch
from beansweep.common.errors import UserError
from beansweep.models import backbone_names, backbones, pretrained_weights
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
    "backbone", ["timm/ghostnet_100", "timm/mobileone_s0", "timm/crossvit_9_240"]
)
def test_a_new_network_of_timm_has_a_head_that_is_undecided(backbone):
    torch.manual_seed(0)
    model = backbones.build(backbone, 3)
    for head in backbones.heads(model):
        assert len(model.get_submodule(head).weight) == 3
    probabilities = model(torch.randn(4, 3, *model.pretrained_cfg["input_size"][1:])).softmax(dim=1)
    assert (probabilities - 1 / 3).abs().max() < 0.2


def test_weights_of_timm_that_cannot_be_downloaded_say_what_to_do(monkeypatch):
    def offline(name, pretrained):
        raise OSError("no route to host")

    model = backbones.build("timm/ghostnet_050", 3)
    with pytest.raises(UserError, match=r"No pretrained weights exist .* train\.weights to none"):
        pretrained_weights.load_weights(model, "timm/ghostnet_050", "imagenet")
    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UserError, match=r"no route to host.* train\.weights to none"):
        pretrained_weights.load_weights(model, "timm/ghostnet_050@96", "imagenet")


def test_weights_of_a_network_with_branches_fill_its_body(tmp_path):
    source = timm.create_model("mobileone_s0", num_classes=1000)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    model = backbones.build("timm/mobileone_s0", 4)
    head = model.head.fc.weight.clone()
    pretrained_weights.load_weights(model, "timm/mobileone_s0", str(tmp_path / "weights.pth"))
    assert torch.equal(model.stem.conv_kxk[0].conv.weight, source.stem.conv_kxk[0].conv.weight)
    assert torch.equal(model.head.fc.weight, head)


def test_a_step_that_changed_the_outputs_is_refused():
    logits = np.array([[0.0, 10.0], [3.0, 4.0]])
    assert export_fp32.compare(logits, logits + 0.009, "joining branches") == (
        pytest.approx(0.009),
        10,
    )
    with pytest.raises(
        UserError, match=r"joining branches changed the outputs on real images by 0.02"
    ):
        export_fp32.compare(logits, logits + 0.02, "joining branches")
    with pytest.raises(UserError, match="by nan"):
        export_fp32.compare(logits, logits * np.nan, "joining branches")


@pytest.mark.parametrize(
    ("backbone", "network", "size", "folder"),
    [
        ("resnet18", "resnet18", None, "resnet18"),
        ("timm/ghostnet_100", "timm/ghostnet_100", None, "timm-ghostnet_100"),
        ("timm/ghostnet_100@96", "timm/ghostnet_100", 96, "timm-ghostnet_100@96"),
    ],
)
def test_a_name_is_a_network_and_an_image_size(backbone, network, size, folder):
    assert (
        backbone_names.network(backbone),
        backbone_names.image_size(backbone),
        backbone_names.folder(backbone),
    ) == (network, size, folder)
