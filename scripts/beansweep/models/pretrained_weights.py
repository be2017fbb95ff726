"""Pretrained weights that a training starts from."""

from pathlib import Path

import timm
import torch
import torchvision
from torch import nn

from beansweep.common.errors import UserError
from beansweep.models import backbone_names, backbones


def load_weights(model: nn.Module, backbone: str, weights: str) -> set[str]:
    """Load pretrained weights into `model`, in place; its head keeps its random values.

    Parameters
    ----------
    model : as `backbones.build` gives it
    backbone : its name
    weights : `none`, `imagenet` (the library's own, downloaded once), or a file with a plain
        state dict of the same network, with a head of any size

    Returns
    -------
    Names of the parameters and statistics that no longer have random values.

    Raises
    ------
    UserError
        The download or the file fails, or the file belongs to another network.
    """
    if weights == "none":
        return set()
    name = backbone_names.network(backbone)
    pretrained = _imagenet_state(name) if weights == "imagenet" else _read_state(Path(weights))
    own = dict(model.state_dict())
    head = tuple(f"{layer}." for layer in backbones.heads(model))
    body = [key for key in own if not key.startswith(head)]
    _check_fit(own, body, pretrained, f"train.weights: {weights} does not fit {name}")
    for key in body:
        own[key] = pretrained[key]
    model.load_state_dict(own)
    return set(body)


def _check_fit(
    own: dict[str, torch.Tensor], body: list[str], pretrained: dict[str, torch.Tensor], words: str
) -> None:
    """Check that a state dict belongs to a network.

    Parameters
    ----------
    own : state dict of the network
    body : keys of all but its head
    pretrained : state dict to check
    words : what the message begins with
    """
    missing = [key for key in body if key not in pretrained]
    unknown = [key for key in pretrained if key not in own]
    misshapen = []
    for key in body:
        if key in pretrained and pretrained[key].shape != own[key].shape:
            misshapen.append(key)
    for problem, keys in (
        ("lacks", missing),
        ("has another shape for", misshapen),
        ("has the unknown", unknown),
    ):
        if keys:
            others = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise UserError(f"{words}: it {problem} {keys[0]}{others}; name a file of this network")


def _imagenet_state(name: str) -> dict[str, torch.Tensor]:
    """The state dict that a network's library has for it, downloaded once."""
    try:
        if name.startswith(backbone_names.TIMM):
            source = timm.create_model(name.removeprefix(backbone_names.TIMM), pretrained=True)
            return source.state_dict()
        return torchvision.models.get_model_weights(name).DEFAULT.get_state_dict(check_hash=True)
    except (OSError, RuntimeError) as error:
        # RuntimeError: timm has no weights of this network.
        raise UserError(
            f"the ImageNet weights of {name} cannot be downloaded ({error}): go online, "
            "or set train.weights to none or to a state-dict file"
        ) from error


def _read_state(path: Path) -> dict[str, torch.Tensor]:
    """Read the state dict in a file; code that the file may carry never runs."""
    refusal = UserError(
        f"train.weights: {path} is not a plain state dict of tensors: save one with "
        "torch.save(model.state_dict(), file)"
    )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # A damaged file can raise anything.
        raise refusal from error
    if not isinstance(state, dict):
        raise refusal
    for key, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise refusal
        if not value.isfinite().all():
            raise UserError(
                f"train.weights: {path} has values in {key} that are not finite numbers: "
                "name another file"
            )
    return state
