"""Batches of decoded images, plain and augmented."""

import torch

from beansweep.data import preprocess


class Batches:
    """Turns decoded images into normalised batches on a device.

    Images are stored with channels last. A permuted view of them has the memory format that
    convolutions are fastest in, so nothing is copied to get it.

    Parameters
    ----------
    preprocessing : image_size, mean and std
    device : where the batches go
    """

    def __init__(self, preprocessing: dict, device: torch.device):
        scale, offset = preprocess.scale_and_offset(preprocessing)
        self.scale = torch.from_numpy(scale).to(device)
        self.offset = torch.from_numpy(offset).to(device)
        self.device = device

    def plain(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 [n, size, size, 3] -> float32 [n, 3, size, size], channels last."""
        pixels = pixels.to(self.device, non_blocking=True)
        return (pixels * self.scale + self.offset).permute(0, 3, 1, 2)

    def augmented(self, pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """The same with random flips, quarter turns, brightness, contrast and colour of light."""
        count = len(pixels)
        orientations = torch.randint(8, (count,), generator=generator)
        pixels = turn(pixels.to(self.device, non_blocking=True), orientations)
        # pixel * tint + shift, folded into the normalisation: one pass over the batch.
        gain = 1 + 0.2 * uniform((count, 1), generator)
        tint = gain * (1 + 0.05 * uniform((count, 3), generator))
        shift = 127.5 * (1 - gain) + 25 * uniform((count, 1), generator)
        scale = tint.to(self.device, non_blocking=True) * self.scale
        offset = shift.to(self.device, non_blocking=True) * self.scale + self.offset
        return (pixels * scale[:, None, None] + offset[:, None, None]).permute(0, 3, 1, 2)


def uniform(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Random numbers between -1 and 1."""
    return 2 * torch.rand(shape, generator=generator) - 1


def turn(pixels: torch.Tensor, orientations: torch.Tensor) -> torch.Tensor:
    """Flip and quarter-turn images.

    Parameters
    ----------
    pixels : [n, size, size, 3]
    orientations : int [n], 0 to 7: bit 0 flips rows, bit 1 flips columns, bit 2 transposes;
        on the CPU, wherever the images are: a GPU is not waited for

    Returns
    -------
    [n, size, size, 3]
    """
    out = torch.empty_like(pixels)
    for orientation in range(8):
        chosen = (orientations == orientation).nonzero().flatten()
        chosen = chosen.to(pixels.device, non_blocking=True)
        turned = pixels[chosen]
        if orientation & 1:
            turned = turned.flip(1)
        if orientation & 2:
            turned = turned.flip(2)
        if orientation & 4:
            turned = turned.transpose(1, 2)
        out[chosen] = turned
    return out
