"""Which activations can stand for others, and a network with them."""

import copy

from torch import nn

from beansweep.quantization.not_applicable import NotApplicable

# Activation of a recipe -> what stands for SiLU.
_FOR_SILU: dict[str, type[nn.Module]] = {"hardswish": nn.Hardswish, "relu": nn.ReLU}


def swapped(model: nn.Module, activation: str) -> tuple[nn.Module, dict[str, int]]:
    """A copy of a network with another activation for SiLU, and hard-sigmoid for sigmoid.

    Sigmoids are the gates of squeeze-and-excitation, and have no integer form either (Howard et al.
    2019, "Searching for MobileNetV3", swaps both).

    Parameters
    ----------
    activation : `hardswish` or `relu`

    Returns
    -------
    The copy, and how many modules of each class were swapped

    Raises
    ------
    NotApplicable
        The network has no SiLU.
    """
    replacements = {nn.SiLU: _FOR_SILU[activation], nn.Sigmoid: nn.Hardsigmoid}
    model, counts = copy.deepcopy(model), dict.fromkeys(("SiLU", "Sigmoid"), 0)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            for replaced, replacement in replacements.items():
                if isinstance(child, replaced):
                    setattr(module, name, replacement())
                    counts[replaced.__name__] += 1
    if not counts["SiLU"]:
        raise NotApplicable(f"it has no SiLU that {activation} could stand for")
    return model, counts
