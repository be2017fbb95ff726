"""Backbones of torchvision and timm by name: building them, and the input that they take."""

from typing import Any

import timm
import torch
import torchvision
from timm.utils import reparameterize_model
from torch import nn

from beansweep.common.errors import UserError
from beansweep.models import backbone_names

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
_NORMALISATIONS = {"imagenet": IMAGENET, "half": {"mean": [0.5] * 3, "std": [0.5] * 3}}

# torchvision adds auxiliary heads to these unless it is told not to. Its weights of these take
# images with mean and standard deviation 0.5: torchvision scales ImageNet's in the network.
_WITH_AUXILIARY_HEADS = ("googlenet", "inception_v3")
# The largest image size (pixels) that is tried for one that a network takes.
_LARGEST_SIZE = 512


def known() -> list[str]:
    """Names of all classifiers: torchvision's, then timm's.

    timm's begin with timm/, and may end in one of its tags of pretrained weights.
    """
    names = torchvision.models.list_models(module=torchvision.models)
    for name in dict.fromkeys([*timm.list_models(), *timm.list_pretrained()]):
        names.append(backbone_names.TIMM + name)
    return names


def build(backbone: str, classes: int, image_size: int | None = None) -> nn.Module:
    """Build a randomly initialised classifier.

    Parameters
    ----------
    backbone : its name
    classes : number of outputs
    image_size : pixels, as `preprocessing` gives them; the library's own by default. Few networks
        depend on it.
    """
    name = backbone_names.network(backbone)
    if name.startswith(backbone_names.TIMM):
        model = timm.create_model(name.removeprefix(backbone_names.TIMM), num_classes=classes)
    else:
        options: dict[str, Any] = {"weights": None, "num_classes": classes}
        if name in _WITH_AUXILIARY_HEADS:
            options |= {"aux_logits": False, "init_weights": True}
        if image_size and name == "maxvit_t":
            options["input_size"] = (image_size, image_size)
        elif image_size and name in backbone_names.SIZE_STEPS:
            options["image_size"] = image_size
        model = torchvision.models.get_model(name, **options)
    # Some heads start from a range that was made for a thousand classes. EfficientNet's range is
    # one over the root of their number: at six classes its logits are so large that its training
    # falls far behind.
    for head in heads(model):
        layer = model.get_submodule(head)
        nn.init.normal_(layer.get_parameter("weight"), std=0.01)
        if layer.bias is not None:
            nn.init.zeros_(layer.get_parameter("bias"))
    return model


def heads(model: nn.Module) -> list[str]:
    """Names of the layers with an output for each class.

    timm's record of a network names them; in a network of torchvision it is the last layer.
    """
    recorded = getattr(model, "pretrained_cfg", {}).get("classifier")
    if recorded:
        return [recorded] if isinstance(recorded, str) else list(recorded)
    last = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            last = [name]
    return last


def preprocessing(settings: dict) -> dict:
    """The input that a network takes.

    Parameters
    ----------
    settings : of `train`, with the backbone's name

    Returns
    -------
    image_size (pixels), and mean and std (three values each, of pixels scaled to 0..1)

    Raises
    ------
    UserError
        The backbone's name has an image size that the network does not take.
    """
    name = backbone_names.network(settings["backbone"])
    record = _record(name)
    size = _image_size(name, record, settings)
    return {"image_size": size, **_normalisation(name, record, settings)}


def check_image_size(model: nn.Module, backbone: str, size: int) -> None:
    """Check that a network can be run on images of a size (pixels).

    Raises
    ------
    UserError
        It cannot; the text names a size that it can be run on.
    """
    if _runs(model, size):
        return
    larger = range(size // 32 * 32 + 32, _LARGEST_SIZE + 1, 32)
    enough = next((other for other in larger if _runs(model, other)), None)
    name = backbone_names.network(backbone)
    advice = f"set overrides: {{{name}: {{image_size: {enough}}}}}" if enough else "leave it out"
    raise UserError(f"{backbone}: this network does not take images of {size} pixels: {advice}")


def _runs(model: nn.Module, size: int) -> bool:
    """Whether a network gives one row of logits for an image of a size (pixels)."""
    try:
        with torch.inference_mode():
            return len(model(torch.zeros(1, 3, size, size))) == 1
    except (RuntimeError, AssertionError, ValueError):
        return False


def _record(name: str) -> dict:
    """What timm has on record of one of its networks; empty for torchvision's."""
    if not name.startswith(backbone_names.TIMM):
        return {}
    record = timm.get_pretrained_cfg(name.removeprefix(backbone_names.TIMM))
    return record.to_dict() if record else {}


def fixed_size(backbone: str) -> int | None:
    """The one image size (pixels) that a network takes; None where it takes others."""
    return _fixed_size(_record(backbone_names.network(backbone)))


def _fixed_size(record: dict) -> int | None:
    return record["input_size"][-1] if record.get("fixed_input_size") else None


def _image_size(name: str, record: dict, settings: dict) -> int:
    """The image size of `settings`, or the nearest that the network takes."""
    backbone, wanted = settings["backbone"], settings["image_size"]
    fixed = _fixed_size(record)
    size = fixed or backbone_names.nearest_size(name, wanted)
    if fixed:
        rule = f"images of {fixed} pixels alone"
    else:
        rule = f"images of a multiple of {backbone_names.SIZE_STEPS.get(name, 1)} pixels alone"
    if backbone_names.image_size(backbone) not in (None, size):
        raise UserError(f"{backbone}: this network takes {rule}; name it {name}@{size}")
    return size


def _normalisation(name: str, record: dict, settings: dict) -> dict[str, list[float]]:
    """The mean and std of `settings`, or those that the network's weights were trained with."""
    if settings["normalisation"] != "auto":
        return _NORMALISATIONS[settings["normalisation"]]
    if record:
        return {"mean": list(record["mean"]), "std": list(record["std"])}
    if name in _WITH_AUXILIARY_HEADS and settings["weights"] != "none":
        return _NORMALISATIONS["half"]
    if settings["weights"] == "imagenet":
        transforms = torchvision.models.get_model_weights(name).DEFAULT.transforms()
        return {"mean": list(transforms.mean), "std": list(transforms.std)}
    return IMAGENET


def fused(model: nn.Module) -> nn.Module:
    """A copy that computes the same, with the branches that only training needs merged into one.

    Networks with such branches are MobileOne, RepVGG and RepGhost.
    """
    return reparameterize_model(model)
