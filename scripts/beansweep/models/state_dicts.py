"""Loading a state dict that lost what PyTorch keeps next to it."""

from collections import OrderedDict

import torch
from torch import nn


def load(model: nn.Module, state: dict[str, torch.Tensor], assign: bool = False) -> None:
    """Load a state dict.

    PyTorch records the versions of modules in an attribute of a state dict, which a copy of its
    items lacks. MNASNet refuses such a copy. It is then taken to be of the installed version.

    Parameters
    ----------
    assign : take the tensors themselves, and not their values

    Raises
    ------
    RuntimeError
        The state dict is of another network.
    """
    try:
        model.load_state_dict(state, assign=assign)
    except ValueError:
        versioned = OrderedDict(state)
        versioned._metadata = model.state_dict()._metadata  # type: ignore[attr-defined]
        model.load_state_dict(versioned, assign=assign)
