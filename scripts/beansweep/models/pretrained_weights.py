"""Pretrained weights that a training starts from."""

from pathlib import Path

import timm
import torch
import torchvision
from torch import nn

from beansweep.common.errors import UserError
from beansweep.models import backbone_names
from beansweep.models.backbones import _TIMM, heads


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
    name = backbone_names.network(backbone)
    state = _imagenet_state(name) if weights == "imagenet" else _read_state(Path(weights))
    own = model.state_dict()
    head = tuple(f"{each}." for each in heads(model))
    body = {key: value for key, value in own.items() if not key.startswith(head)}
    missing = [key for key in body if key not in state]
    wrong = [key for key in body if key in state and state[key].shape != body[key].shape]
    surplus = [key for key in state if key not in own]
    for problem, keys in (
        ("lacks", missing),
        ("has another shape for", wrong),
        ("has the unknown", surplus),
    ):
        if keys:
            raise UserError(
                f"train.weights: {weights} does not fit {name}: it {problem} {keys[0]}"
                f"{f' and {len(keys) - 1} more' if len(keys) > 1 else ''}; name a file of this network"
            )
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
        raise UserError(
            f"the ImageNet weights of {name} cannot be downloaded ({error}): go online, "
            "or set train.weights to none or to a state-dict file"
        ) from error


def _read_state(path: Path) -> dict[str, torch.Tensor]:
    """The state dict in a file; never runs code that the file may carry."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # A damaged file leads the reader anywhere.
        raise UserError(
            f"train.weights: {path} is not a plain state dict of tensors: save one with "
            "torch.save(model.state_dict(), file)"
        ) from error
    if not isinstance(state, dict) or not all(
        isinstance(value, torch.Tensor) for value in state.values()
    ):
        raise UserError(
            f"train.weights: {path} is not a plain state dict of tensors: save one with "
            "torch.save(model.state_dict(), file)"
        )
    for key, value in state.items():
        if not value.isfinite().all():
            raise UserError(
                f"train.weights: {path} has values in {key} that are not finite numbers: name another file"
            )
    return state
