"""How a backbone is named in a configuration.

`resnet18` is torchvision's, `timm/ghostnet_100` is timm's. A name may end in an image size where
that is not train's: `resnet18@128`.
"""

# What the names of timm's networks begin with.
TIMM = "timm/"
# torchvision's networks that are built for one image size: the sizes that they can be built for are
# multiples of this, a side of a patch or of the largest window.
SIZE_STEPS = {
    "vit_b_16": 16,
    "vit_b_32": 32,
    "vit_h_14": 14,
    "vit_l_16": 16,
    "vit_l_32": 32,
    "maxvit_t": 224,
}


def network(backbone: str) -> str:
    """The network's name, without an image size."""
    return backbone.partition("@")[0]


def image_size(backbone: str) -> int | None:
    """The image size (pixels) in a backbone's name; None where it has none."""
    size = backbone.partition("@")[2]
    return int(size) if size else None


def nearest_size(network: str, wanted: int) -> int:
    """The image size (pixels) next to the wanted one that a network can be built for."""
    step = SIZE_STEPS.get(network, 1)
    return max(1, round(wanted / step)) * step


def folder(backbone: str) -> str:
    """The name of its folder below results/, and in the report: `timm-ghostnet_100`."""
    return backbone.replace("/", "-")
