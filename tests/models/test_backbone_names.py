"""Names of backbones."""

import pytest
from beansweep.models import backbone_names


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
