"""Batches of decoded images, plain and augmented."""

import torch

from beansweep.data import preprocess


class Batches:
    """Turns decoded images into normalised batches on the device.

    Images are stored with channels last, so a permuted view of them already has the memory
    format that convolutions are fastest in, and nothing is copied to get it.
    """

    def __init__(self, preprocessing: dict, device: torch.device):
        scale, offset = preprocess.scale_and_offset(preprocessing)
        self.scale = torch.from_numpy(scale).to(device)
        self.offset = torch.from_numpy(offset).to(device)
        self.device = device

    def plain(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 [n, size, size, 3] -> float32 [n, 3, size, size], channels last."""
        return (pixels.to(self.device) * self.scale + self.offset).permute(0, 3, 1, 2)

    def augmented(self, pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """The same with random flips, quarter turns, brightness, contrast and colour of light."""
        pixels = turn(pixels, torch.randint(8, (len(pixels),), generator=generator)).to(self.device)
        # pixel * gain + shift folded into the normalisation: one pass over the batch.
        gain = 1 + 0.2 * uniform((len(pixels), 1), generator)
        tint = gain * (1 + 0.05 * uniform((len(pixels), 3), generator))
        shift = 127.5 * (1 - gain) + 25 * uniform((len(pixels), 1), generator)
        scale = tint.to(self.device) * self.scale
        offset = shift.to(self.device) * self.scale + self.offset
        return (pixels * scale[:, None, None] + offset[:, None, None]).permute(0, 3, 1, 2)


def uniform(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Random numbers between -1 and 1."""
    return 2 * torch.rand(shape, generator=generator) - 1


def turn(pixels: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
    """Flip and quarter-turn images [n, size, size, 3], each by its own number from 0 to 7."""
    out = torch.empty_like(pixels)
    for kind in range(8):
        chosen = which == kind
        turned = pixels[chosen]
        if kind & 1:
            turned = turned.flip(1)
        if kind & 2:
            turned = turned.flip(2)
        if kind & 4:
            turned = turned.transpose(1, 2)
        out[chosen] = turned
    return out
