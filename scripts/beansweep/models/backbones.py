"""Backbones of torchvision and timm by name: how they are built, what they are fed, what they start from."""

import timm
import torchvision
from torch import nn

from beansweep.common.errors import UserError
from beansweep.models import backbone_names, backbones

_TIMM = "timm/"
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
_NORMALISATIONS = {"imagenet": backbones.IMAGENET, "half": {"mean": [0.5] * 3, "std": [0.5] * 3}}


def known() -> list[str]:
    """Names of all classifiers; timm's begin with timm/, and may end in one of its tags of pretrained weights."""
    of_timm = dict.fromkeys([*timm.list_models(), *timm.list_pretrained()])
    return [
        *torchvision.models.list_models(module=torchvision.models),
        *(_TIMM + name for name in of_timm),
    ]


def build(backbone: str, classes: int) -> nn.Module:
    """A randomly initialised classifier with `classes` outputs."""
    name = backbone_names.network(backbone)
    if name.startswith(_TIMM):
        model = timm.create_model(name.removeprefix(_TIMM), num_classes=classes)
    else:
        # torchvision's Inception and GoogLeNet add auxiliary heads unless told not to.
        extra = (
            {"aux_logits": False, "init_weights": True}
            if name in ("googlenet", "inception_v3")
            else {}
        )
        model = torchvision.models.get_model(name, weights=None, num_classes=classes, **extra)
    # Some heads start from a range made for a thousand classes: EfficientNet's, of one over the
    # root of their number, gives logits so large at six that its training falls far behind.
    for head in heads(model):
        layer = model.get_submodule(head)
        nn.init.normal_(layer.weight, std=0.01)
        nn.init.zeros_(layer.bias)
    return model


def heads(model: nn.Module) -> list[str]:
    """Names of the layers with an output for each class: timm's record has them, else it is the last layer."""
    recorded = getattr(model, "pretrained_cfg", {}).get("classifier")
    if recorded:
        return [recorded] if isinstance(recorded, str) else list(recorded)
    return [
        name for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)
    ][-1:]


def preprocessing(model: nn.Module, settings: dict) -> dict:
    """What a network is fed: image_size, and mean and std as the weights that it starts from were trained with.

    Parameters
    ----------
    settings : of `train`, with the backbone's name

    Raises
    ------
    UserError
        The backbone's name has an image size that the network does not take.
    """
    record, size = getattr(model, "pretrained_cfg", {}), settings["image_size"]
    if record.get("fixed_input_size"):
        size = record["input_size"][-1]
        if backbone_names.image_size(settings["backbone"]) not in (None, size):
            raise UserError(
                f"{settings['backbone']}: this network takes images of {size} pixels alone; "
                f"name it {backbone_names.network(settings['backbone'])}"
            )
    if settings["normalisation"] != "auto":
        normalisation = _NORMALISATIONS[settings["normalisation"]]
    elif record:
        normalisation = {key: list(record[key]) for key in ("mean", "std")}
    elif settings["weights"] == "imagenet":
        made_for = torchvision.models.get_model_weights(
            backbone_names.network(settings["backbone"])
        ).DEFAULT.transforms()
        normalisation = {"mean": list(made_for.mean), "std": list(made_for.std)}
    else:
        normalisation = backbones.IMAGENET
    return {"image_size": size, **normalisation}


def fused(model: nn.Module) -> nn.Module:
    """A copy in which branches that serve training alone are one (MobileOne, RepVGG, RepGhost); the same function."""
    return timm.utils.reparameterize_model(model)
