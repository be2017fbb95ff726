"""How a backbone is named in a configuration.

`resnet18` is torchvision's, `timm/ghostnet_100` is timm's. A name may end in an image size where
that is not train's: `resnet18@128`.
"""

# What the names of timm's networks begin with.
TIMM = "timm/"


def network(backbone: str) -> str:
    """The network's name, without an image size."""
    return backbone.partition("@")[0]


def image_size(backbone: str) -> int | None:
    """The image size (pixels) in a backbone's name; None where it has none."""
    size = backbone.partition("@")[2]
    return int(size) if size else None


def folder(backbone: str) -> str:
    """The name of its folder below results/, and in the report: `timm-ghostnet_100`."""
    return backbone.replace("/", "-")
