"""Pretrained weights: those that fit are loaded, all others are refused by name."""

from collections import OrderedDict

import pytest
import timm
import torch
import torchvision
from beansweep.common.errors import UserError
from beansweep.models import backbones, pretrained_weights
from torchvision.models.vision_transformer import VisionTransformer


def test_weights_of_the_same_network_fill_its_body_and_leave_the_head(tmp_path):
    source = torchvision.models.mobilenet_v3_small(num_classes=1000)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    model = backbones.build("mobilenet_v3_small", 5)
    head = model.classifier[3].weight.clone()
    pretrained_weights.load_weights(model, "mobilenet_v3_small", str(tmp_path / "weights.pth"))
    assert torch.equal(model.features[0][0].weight, source.features[0][0].weight)
    assert torch.equal(model.classifier[3].weight, head)


@pytest.mark.parametrize("copy", [dict, OrderedDict])
def test_weights_without_the_versions_of_their_modules_are_loaded(tmp_path, copy):
    source = torchvision.models.mnasnet0_5(num_classes=1000)
    torch.save(copy(source.state_dict().items()), tmp_path / "weights.pth")
    model = backbones.build("mnasnet0_5", 5)
    pretrained_weights.load_weights(model, "mnasnet0_5", str(tmp_path / "weights.pth"))
    assert torch.equal(model.layers[0].weight, source.layers[0].weight)


def test_weights_of_an_older_form_of_a_network_are_refused_by_name(tmp_path):
    """Version 1 of MNASNet has a wider stem."""
    state = torchvision.models.mnasnet0_5(num_classes=1000).state_dict()
    state._metadata[""]["version"] = 1
    torch.save(state, tmp_path / "old.pth")
    with pytest.raises(UserError, match=r"old\.pth does not fit mnasnet0_5"):
        model = backbones.build("mnasnet0_5", 5)
        pretrained_weights.load_weights(model, "mnasnet0_5", str(tmp_path / "old.pth"))


def test_weights_of_another_network_are_refused_by_name(tmp_path):
    torch.save(
        torchvision.models.mobilenet_v3_large(num_classes=10).state_dict(), tmp_path / "large.pth"
    )
    with pytest.raises(UserError, match=r"large\.pth does not fit mobilenet_v3_small"):
        pretrained_weights.load_weights(
            backbones.build("mobilenet_v3_small", 5),
            "mobilenet_v3_small",
            str(tmp_path / "large.pth"),
        )


@pytest.mark.parametrize("content", [b"", b"not a pickle", b"cos\nsystem\n(S'touch harm'\ntR."])
def test_a_file_that_is_no_state_dict_is_refused_and_runs_nothing(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.pth").write_bytes(content)
    with pytest.raises(UserError, match=r"bad\.pth is not a plain state dict"):
        pretrained_weights.load_weights(
            backbones.build("mobilenet_v3_small", 5),
            "mobilenet_v3_small",
            str(tmp_path / "bad.pth"),
        )
    assert not (tmp_path / "harm").exists()


def test_imagenet_weights_that_cannot_be_downloaded_say_what_to_do(monkeypatch):
    def offline(*arguments, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(UserError, match=r"cannot be downloaded .* train\.weights to none"):
        pretrained_weights.load_weights(
            backbones.build("mobilenet_v3_small", 5), "mobilenet_v3_small", "imagenet"
        )


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


def test_densenets_old_file_has_its_keys_renamed(tmp_path):
    source = torchvision.models.densenet121(num_classes=10).state_dict()
    old = {}
    for key, value in source.items():
        for part in ("norm", "relu", "conv"):
            for number in "12":
                key = key.replace(f".{part}{number}.", f".{part}.{number}.")
        old[key] = value
    # Only the names of dense layers have two parts in torchvision's file.
    old = {key: value for key, value in old.items() if "num_batches_tracked" not in key}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, tmp_path / "old.pth")
    model = backbones.build("densenet121", 3)
    pretrained_weights.load_weights(model, "densenet121", str(tmp_path / "old.pth"))
    key = "features.denseblock4.denselayer16.conv2.weight"
    assert torch.equal(model.state_dict()[key], source[key])


@pytest.mark.parametrize(
    ("name", "auxiliary"), [("googlenet", "aux1."), ("inception_v3", "AuxLogits.")]
)
def test_heads_that_only_training_needs_are_left_out(tmp_path, name, auxiliary):
    with torch.device("meta"):  # Their random values take long.
        model = backbones.build(name, 4)
    model.to_empty(device="cpu")
    state = {key: torch.ones_like(value) for key, value in model.state_dict().items()}
    torch.save({**state, f"{auxiliary}fc.weight": torch.zeros(3)}, tmp_path / "weights.pth")
    filled = pretrained_weights.load_weights(model, name, str(tmp_path / "weights.pth"))
    assert filled == {key for key in state if not key.startswith("fc.")}
    assert all(torch.equal(model.state_dict()[key], state[key]) for key in filled)


def vision_transformer(name, classes, image_size=32):
    return VisionTransformer(image_size, 8, 1, 2, 16, 16, num_classes=classes)


def test_position_embeddings_of_another_image_size_are_resized(tmp_path, monkeypatch):
    monkeypatch.setattr(backbones, "build", vision_transformer)
    source, model = vision_transformer("vit_b_16", 10), vision_transformer("vit_b_16", 3, 64)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    pretrained_weights.load_weights(model, "vit_b_16", str(tmp_path / "weights.pth"))
    small, large = source.encoder.pos_embedding[0], model.encoder.pos_embedding[0]
    assert len(small) == 1 + 4**2
    assert len(large) == 1 + 8**2
    # The class token, and the corners of the grid, stay what they are.
    assert torch.allclose(large[[0, 1, 8, -1]], small[[0, 1, 4, -1]], atol=1e-5)


def test_position_embeddings_of_no_square_are_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(backbones, "build", vision_transformer)
    state = vision_transformer("vit_b_16", 10).state_dict()
    state["encoder.pos_embedding"] = torch.zeros(1, 8, 16)
    torch.save(state, tmp_path / "odd.pth")
    model = vision_transformer("vit_b_16", 3, 64)
    with pytest.raises(UserError, match=r"odd\.pth does not fit vit_b_16: seq_length is not a"):
        pretrained_weights.load_weights(model, "vit_b_16", str(tmp_path / "odd.pth"))


def test_an_empty_file_of_timm_is_refused_and_nothing_is_downloaded(tmp_path):
    torch.save({}, tmp_path / "empty.pth")
    model = backbones.build("timm/ghostnet_100", 3)
    with pytest.raises(UserError, match=r"empty\.pth is not a plain state dict"):
        pretrained_weights.load_weights(model, "timm/ghostnet_100", str(tmp_path / "empty.pth"))


def test_timm_mends_its_own_files(tmp_path):
    source = timm.create_model("vit_tiny_patch16_224", img_size=96, num_classes=10)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    model = backbones.build("timm/vit_tiny_patch16_224", 3)
    head = model.head.weight.clone()
    pretrained_weights.load_weights(
        model, "timm/vit_tiny_patch16_224", str(tmp_path / "weights.pth")
    )
    assert torch.equal(model.blocks[3].mlp.fc1.weight, source.blocks[3].mlp.fc1.weight)
    assert torch.equal(model.pos_embed[:, 0], source.pos_embed[:, 0])
    assert torch.equal(model.head.weight, head)


def test_weights_of_another_network_of_timm_are_refused_by_name(tmp_path):
    torch.save(timm.create_model("lcnet_035").state_dict(), tmp_path / "lcnet.pth")
    model = backbones.build("timm/ghostnet_050", 3)
    with pytest.raises(
        UserError, match=r"lcnet\.pth does not fit timm/ghostnet_050: .* and \d+ more"
    ):
        pretrained_weights.load_weights(model, "timm/ghostnet_050", str(tmp_path / "lcnet.pth"))
