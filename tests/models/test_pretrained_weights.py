"""Pretrained weights: those that fit are loaded, all others are refused by name."""

import pytest
import timm
import torch
import torchvision
from beansweep.common.errors import UserError
from beansweep.models import backbones, pretrained_weights


def test_weights_of_the_same_network_fill_its_body_and_leave_the_head(tmp_path):
    source = torchvision.models.mobilenet_v3_small(num_classes=1000)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    model = backbones.build("mobilenet_v3_small", 5)
    head = model.classifier[3].weight.clone()
    pretrained_weights.load_weights(model, "mobilenet_v3_small", str(tmp_path / "weights.pth"))
    assert torch.equal(model.features[0][0].weight, source.features[0][0].weight)
    assert torch.equal(model.classifier[3].weight, head)


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
