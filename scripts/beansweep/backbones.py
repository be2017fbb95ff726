"""Backbones by their torchvision names, and the weights that they start from."""

from pathlib import Path

import torch
import torchvision
from torch import nn

from beansweep.stage import UserError


def names() -> list[str]:
    """Names of torchvision's image classifiers."""
    return torchvision.models.list_models(module=torchvision.models)


def build(name: str, classes: int) -> nn.Module:
    """A randomly initialised torchvision classifier with `classes` outputs."""
    # torchvision's Inception and GoogLeNet add auxiliary heads unless told not to.
    extra = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
    model = torchvision.models.get_model(name, weights=None, num_classes=classes, **extra)
    # Some heads start from a range made for a thousand classes: EfficientNet's, of one over the
    # root of their number, gives logits so large at six that its training falls far behind.
    head = model.get_submodule(_head(model))
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)
    return model


def load_weights(model: nn.Module, name: str, weights: str) -> None:
    """Start `model` from pretrained weights, in place; its head keeps its random values.

    Parameters
    ----------
    weights : `none`, `imagenet` (torchvision's own, downloaded once), or a file with a plain
        state dict of the same network, with a head of any size

    Raises
    ------
    UserError
        The download or the file fails, or the file belongs to another network.
    """
    if weights == "none":
        return
    if weights == "imagenet":
        try:
            state = torchvision.models.get_model_weights(name).DEFAULT.get_state_dict(check_hash=True)
        except OSError as error:
            raise UserError(f"the ImageNet weights of {name} cannot be downloaded ({error}): go online, "
                            "or set train.weights to none or to a state-dict file") from error
    else:
        state = _read_state(Path(weights))
    own = model.state_dict()
    head = f"{_head(model)}."
    body = {key: value for key, value in own.items() if not key.startswith(head)}
    missing = [key for key in body if key not in state]
    wrong = [key for key in body if key in state and state[key].shape != body[key].shape]
    surplus = [key for key in state if key not in own]
    for problem, keys in (("lacks", missing), ("has another shape for", wrong), ("has the unknown", surplus)):
        if keys:
            raise UserError(f"train.weights: {weights} does not fit {name}: it {problem} {keys[0]}"
                            f"{f' and {len(keys) - 1} more' if len(keys) > 1 else ''}; name a file of this network")
    model.load_state_dict({**own, **{key: state[key] for key in body}})


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


def _head(model: nn.Module) -> str:
    """Name of the last linear or convolutional layer: the one with an output for each class."""
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
