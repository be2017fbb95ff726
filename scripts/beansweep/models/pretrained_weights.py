"""Pretrained weights that a training starts from.

They are loaded as torchvision and timm load them: both rename keys of old files, resize position
embeddings, and leave out heads that only training needs.
"""

import re
from collections import OrderedDict
from pathlib import Path

import timm
import torch
import torchvision
from torch import nn
from torchvision.models.vision_transformer import interpolate_embeddings

from beansweep.common.errors import UserError
from beansweep.models import backbone_names, backbones, state_dicts

# Heads of GoogLeNet and Inception v3 that only training needs.
_AUXILIARY_HEADS = ("aux1.", "aux2.", "AuxLogits.")
# Keys of torchvision's DenseNet files, from before names of modules could have no dots in them; the
# pattern is that of torchvision.models.densenet.
_OLD_DENSENET_KEY = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)$")
_POSITIONS = "encoder.pos_embedding"  # of torchvision's ViT


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
    own = model.state_dict()
    head = tuple(f"{layer}." for layer in backbones.heads(model))
    body = [key for key in own if not key.startswith(head)]
    try:
        source = _loaded(model, name, pretrained).state_dict()
        for key in body:
            own[key] = source[key]
        state_dicts.load(model, own)
    except (RuntimeError, ValueError, TypeError, LookupError) as error:
        # All but the first are from conversions of old files that meet an odd one.
        raise UserError(
            f"train.weights: {weights} does not fit {name}: {_first_misfit(error)}; "
            "name a file of this network"
        ) from error
    return set(body)


def _loaded(model: nn.Module, name: str, state: dict[str, torch.Tensor]) -> nn.Module:
    """The network that a state dict is of, with all of it loaded, its head too.

    Parameters
    ----------
    model : the same network with a head of another size
    name : of the network

    Raises
    ------
    RuntimeError
        The state dict is of another network.
    """
    classes = _classes(model, state)
    if name.startswith(backbone_names.TIMM):
        record = {"state_dict": state, "num_classes": classes, "label_offset": 0}
        return timm.create_model(
            name.removeprefix(backbone_names.TIMM),
            num_classes=classes,
            pretrained=True,
            pretrained_cfg_overlay=record,
        )
    state = _renamed(state)
    if _POSITIONS in state:
        state = interpolate_embeddings(model.image_size, model.patch_size, state)
    # On no device: a network gets no random values that would be replaced at once.
    with torch.device("meta"):
        source = backbones.build(name, classes, getattr(model, "image_size", None))
    state_dicts.load(source, state, assign=True)
    return source


def _classes(model: nn.Module, state: dict[str, torch.Tensor]) -> int:
    """How many outputs the head of a state dict has; if it has no such head, ImageNet's."""
    for layer in backbones.heads(model):
        weight = state.get(f"{layer}.weight")
        if weight is not None and weight.ndim:
            return len(weight)
    return 1000


def _renamed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict of torchvision with today's names, without heads that only training needs."""
    renamed = OrderedDict()
    for key, value in state.items():
        if not key.startswith(_AUXILIARY_HEADS):
            renamed[_OLD_DENSENET_KEY.sub(r"\1\2", key)] = value
    renamed._metadata = getattr(state, "_metadata", None)  # type: ignore[attr-defined]
    return renamed


def _first_misfit(error: Exception) -> str:
    """The first of the differences that torch lists, shortened to one key."""
    lines = str(error).splitlines()
    words = lines[1 if len(lines) > 1 else 0].strip().rstrip(". ")
    first, *others = words.split(", ")
    if others and first.startswith(("Missing", "Unexpected")):
        return f"{first} and {len(others)} more"
    return words


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
    # timm would take an empty one for none, and download its own.
    if not isinstance(state, dict) or not state:
        raise refusal
    for key, value in state.items():
        if not isinstance(key, str) or not _is_plain(value):
            raise refusal
        if not value.isfinite().all():
            raise UserError(
                f"train.weights: {path} has values in {key} that are not finite numbers: "
                "name another file"
            )
    return state


def _is_plain(value: object) -> bool:
    """Whether a value is a tensor that has all its numbers, as they are, in memory."""
    if not isinstance(value, torch.Tensor) or value.is_quantized:
        return False
    return value.layout == torch.strided and not value.is_meta
