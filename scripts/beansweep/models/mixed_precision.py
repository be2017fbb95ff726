"""Mixed precision: on a GPU, most of a training is computed in 16 bits, and weights stay in 32.

The types are those of `torch.autocast` (Micikevicius et al. 2018, "Mixed precision training").
bfloat16 has the range of float32. float16 has less, so the loss is scaled until its gradients fit.
"""

import torch


class MixedPrecision:
    """How a training computes on a device: in 16 bits on a GPU of CUDA, else in 32.

    Parameters
    ----------
    device : of the training

    Attributes
    ----------
    type : bfloat16 or float16; None for 32 bits
    """

    def __init__(self, device: torch.device):
        self.type = _type_on(device)
        self._device = device
        self._scaler = torch.amp.GradScaler(device.type, enabled=self.type is torch.float16)

    def autocast(self) -> torch.autocast:
        """A context that a network's outputs are computed in."""
        # A cache of weights in 16 bits would be outside of a CUDA graph, and grow stale.
        return torch.autocast(
            self._device.type, self.type, enabled=self.type is not None, cache_enabled=False
        )

    def update(self, optimiser: torch.optim.Optimizer, loss: torch.Tensor) -> None:
        """Update the weights; in float16, not where a gradient is outside of its range."""
        optimiser.zero_grad()
        self._scaler.scale(loss).backward()
        self._scaler.step(optimiser)
        self._scaler.update()

    def state_dict(self) -> dict:
        """The scale of the loss; empty where it has none."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict) -> None:
        """Go on from the `state_dict()` of an earlier process."""
        if state:
            self._scaler.load_state_dict(state)


def _type_on(device: torch.device) -> torch.dtype | None:
    if device.type != "cuda":
        return None
    # GPUs before Ampere compute bfloat16 by way of float32, which gains nothing.
    fast = torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if fast else torch.float16
