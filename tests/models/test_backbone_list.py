"""The list of backbones: each is built at the sweep's image size, or at the nearest that it takes.

Each can be loaded from a checkpoint.

Networks are on no device: only their shapes are computed.
"""

import pytest
import torch
from beansweep.models import backbones, state_dicts
from conftest import PROJECT

NAMES = (PROJECT / "scripts/tools/backbones.txt").read_text().split()
SETTINGS = {"weights": "none", "normalisation": "auto", "image_size": 96}
# Built for one image size.
FIXED = {
    "maxvit_t": 224,
    "timm/crossvit_tiny_240": 240,
    "timm/deit_tiny_patch16_224": 224,
    "timm/efficientformer_l1": 224,
    "timm/efficientformerv2_s0": 224,
    "timm/efficientvit_m0": 224,
    "timm/levit_128s": 224,
    "timm/swiftformer_xs": 224,
    "timm/visformer_tiny": 224,
    "timm/vit_tiny_patch16_224": 224,
    "timm/xcit_nano_12_p16_224": 224,
}
# torchvision draws their weights with numbers of a device.
NEEDS_DEVICE = ("regnet_x_400mf", "regnet_y_400mf")

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", NAMES)
def test_each_backbone_of_the_list_gives_logits(name):
    size = backbones.preprocessing({**SETTINGS, "backbone": name})["image_size"]
    assert size == FIXED.get(name, 96)
    device = "cpu" if name in NEEDS_DEVICE else "meta"
    with torch.device(device), torch.inference_mode():
        model = backbones.build(name, 6, size).eval()
        assert model(torch.zeros(2, 3, size, size)).shape == (2, 6)
        # As a checkpoint has it: without the versions of its modules.
        state_dicts.load(model, dict(model.state_dict()))
    for head in backbones.heads(model):
        assert len(model.get_submodule(head).weight) == 6


def test_the_list_has_no_name_twice():
    assert len(set(NAMES)) == len(NAMES) == 77
