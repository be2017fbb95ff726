"""How a backbone is written: `resnet18` (torchvision's) or `timm/ghostnet_100`, with an image size where
it is not train's: `resnet18@128`."""


def network(backbone: str) -> str:
    """The network's name, without an image size."""
    return backbone.partition("@")[0]


def image_size(backbone: str) -> int | None:
    """The image size in a backbone's name; None where it has none."""
    size = backbone.partition("@")[2]
    return int(size) if size else None


def folder(backbone: str) -> str:
    """Its folder below results/, and its name in the report: `timm-ghostnet_100`."""
    return backbone.replace("/", "-")
