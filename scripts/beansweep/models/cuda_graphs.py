"""A network's forward and backward pass as CUDA graphs.

A small network has hundreds of short kernels, and the processor takes longer to launch them than
a GPU to run them. A graph launches all of them at once (PyTorch's documentation, "CUDA graphs").
"""

import contextlib

import torch
from torch import nn

from beansweep.common import progress


def capture(
    model: nn.Module, inputs: torch.Tensor, autocast: contextlib.AbstractContextManager
) -> None:
    """Capture a network that is in training, in place; where it cannot be, it stays as it was.

    It computes the same, on batches of this shape, until the network changes to evaluation or
    other parameters learn. Then it has to be captured again.

    Parameters
    ----------
    model : on a GPU
    inputs : a batch, float32 [n, 3, size, size]
    autocast : the context that outputs are computed in, which may not cache weights
    """
    release(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    # PyTorch's trial runs are on a stream of their own, and it warns of that.
    torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
    try:
        with autocast:
            torch.cuda.make_graphed_callables(model, (inputs,))
    except RuntimeError as error:
        release(model)
        reason = str(error).strip().splitlines()[0]
        progress.say(f"train: no CUDA graph, so each kernel is launched by itself: {reason}")
    # Trial runs changed the statistics of normalisation.
    model.load_state_dict(before)
    model.zero_grad()


def release(model: nn.Module) -> None:
    """Undo `capture`."""
    vars(model).pop("forward", None)
