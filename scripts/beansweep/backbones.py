"""Backbones of torchvision and timm by name: how they are built, what they are fed, what they start from."""

from pathlib import Path

import timm
import torch
import torchvision
from torch import nn

from beansweep import images, names
from beansweep.stage import UserError

_TIMM = "timm/"
_NORMALISATIONS = {"imagenet": images.IMAGENET, "half": {"mean": [0.5] * 3, "std": [0.5] * 3}}


def known() -> list[str]:
    """Names of all classifiers; timm's begin with timm/, and may end in one of its tags of pretrained weights."""
    of_timm = dict.fromkeys([*timm.list_models(), *timm.list_pretrained()])
    return [*torchvision.models.list_models(module=torchvision.models), *(_TIMM + name for name in of_timm)]


def build(backbone: str, classes: int) -> nn.Module:
    """A randomly initialised classifier with `classes` outputs."""
    name = names.network(backbone)
    if name.startswith(_TIMM):
        model = timm.create_model(name.removeprefix(_TIMM), num_classes=classes)
    else:
        # torchvision's Inception and GoogLeNet add auxiliary heads unless told not to.
        extra = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
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
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1:]


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
        if names.image_size(settings["backbone"]) not in (None, size):
            raise UserError(f"{settings['backbone']}: this network takes images of {size} pixels alone; "
                            f"name it {names.network(settings['backbone'])}")
    if settings["normalisation"] != "auto":
        normalisation = _NORMALISATIONS[settings["normalisation"]]
    elif record:
        normalisation = {key: list(record[key]) for key in ("mean", "std")}
    elif settings["weights"] == "imagenet":
        made_for = torchvision.models.get_model_weights(names.network(settings["backbone"])).DEFAULT.transforms()
        normalisation = {"mean": list(made_for.mean), "std": list(made_for.std)}
    else:
        normalisation = images.IMAGENET
    return {"image_size": size, **normalisation}


def fused(model: nn.Module) -> nn.Module:
    """A copy in which branches that serve training alone are one (MobileOne, RepVGG, RepGhost); the same function."""
    return timm.utils.reparameterize_model(model)


def load_weights(model: nn.Module, backbone: str, weights: str) -> set[str]:
    """Start `model` from pretrained weights, in place; its head keeps its random values.

    Parameters
    ----------
    weights : `none`, `imagenet` (the library's own, downloaded once), or a file with a plain
        state dict of the same network, with a head of any size

    Returns
    -------
    Names of what no longer has random values.

    Raises
    ------
    UserError
        The download or the file fails, or the file belongs to another network.
    """
    if weights == "none":
        return set()
    name = names.network(backbone)
    state = _imagenet_state(name) if weights == "imagenet" else _read_state(Path(weights))
    own = model.state_dict()
    head = tuple(f"{each}." for each in heads(model))
    body = {key: value for key, value in own.items() if not key.startswith(head)}
    missing = [key for key in body if key not in state]
    wrong = [key for key in body if key in state and state[key].shape != body[key].shape]
    surplus = [key for key in state if key not in own]
    for problem, keys in (("lacks", missing), ("has another shape for", wrong), ("has the unknown", surplus)):
        if keys:
            raise UserError(f"train.weights: {weights} does not fit {name}: it {problem} {keys[0]}"
                            f"{f' and {len(keys) - 1} more' if len(keys) > 1 else ''}; name a file of this network")
    model.load_state_dict({**own, **{key: state[key] for key in body}})
    return set(body)


def _imagenet_state(name: str) -> dict[str, torch.Tensor]:
    """The state dict that a network's library has for it, downloaded once."""
    try:
        if name.startswith(_TIMM):
            return timm.create_model(name.removeprefix(_TIMM), pretrained=True).state_dict()
        return torchvision.models.get_model_weights(name).DEFAULT.get_state_dict(check_hash=True)
    except (OSError, RuntimeError) as error:
        # RuntimeError: timm has none.
        raise UserError(f"the ImageNet weights of {name} cannot be downloaded ({error}): go online, "
                        "or set train.weights to none or to a state-dict file") from error


def _read_state(path: Path) -> dict[str, torch.Tensor]:
    """The state dict in a file; never runs code that the file may carry."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # A damaged file leads the reader anywhere.
        raise UserError(f"train.weights: {path} is not a plain state dict of tensors: save one with "
                        "torch.save(model.state_dict(), file)") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"train.weights: {path} is not a plain state dict of tensors: save one with "
                        "torch.save(model.state_dict(), file)")
    for key, value in state.items():
        if not value.isfinite().all():
            raise UserError(f"train.weights: {path} has values in {key} that are not finite numbers: name another file")
    return state
