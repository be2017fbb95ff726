"""Which activations can stand for others, and a network with them."""

import copy
from collections.abc import Callable

from torch import nn

from beansweep.quantization.not_applicable import NotApplicable

# Activation of a recipe -> its module, and the module that it stands for.
SWAPS: dict[str, tuple[Callable[[], nn.Module], type[nn.Module]]] = {
    "hardswish": (nn.Hardswish, nn.SiLU)
}


def swapped(model: nn.Module, activation: str) -> tuple[nn.Module, int]:
    """A copy of a network with another activation.

    Parameters
    ----------
    activation : of `SWAPS`

    Returns
    -------
    The copy, and how many activations were swapped

    Raises
    ------
    NotApplicable
        The network has none that it stands for.
    """
    replacement, replaced = SWAPS[activation]
    model, count = copy.deepcopy(model), 0
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, replaced):
                setattr(module, name, replacement())
                count += 1
    if not count:
        raise NotApplicable(f"it has no {replaced.__name__} that {activation} could stand for")
    return model, count
