"""Images of the next batches are read while the present one is trained on."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from beansweep.data.pixels import Selection


def batches(
    pixels: Selection | torch.Tensor, chosen: Sequence[torch.Tensor], pinned: bool
) -> Iterator[torch.Tensor]:
    """The images of each batch, in order.

    Parameters
    ----------
    pixels : uint8 [n, size, size, 3], or as much as a selection
    chosen : numbers of the images of each batch
    pinned : whether they go to a GPU, which fetches them from pinned memory by itself

    Yields
    ------
    uint8 [count, size, size, 3] for each batch
    """

    def read(numbers: torch.Tensor) -> torch.Tensor:
        images = torch.as_tensor(pixels[numbers])
        return images.pin_memory() if pinned else images

    # A GPU may be faster than one thread reads.
    threads = 4 if pinned else 1
    with ThreadPoolExecutor(threads) as reader:
        ahead = deque(reader.submit(read, numbers) for numbers in chosen[:threads])
        for numbers in chosen[threads:]:
            images = ahead.popleft().result()
            ahead.append(reader.submit(read, numbers))
            yield images
        for last in ahead:
            yield last.result()
