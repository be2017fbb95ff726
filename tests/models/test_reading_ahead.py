"""Reading ahead gives the same batches in the same order."""

import numpy as np
import pytest
import torch
from beansweep.models import reading_ahead
from hypothesis import given
from hypothesis import strategies as st


@given(count=st.integers(0, 20), batch=st.integers(1, 7))
def test_every_batch_comes_once_and_in_order(count, batch):
    pixels = torch.arange(count)[:, None]
    chosen = torch.randperm(count).split(batch) if count else ()
    found = list(reading_ahead.batches(pixels, chosen, pinned=False))
    assert len(found) == len(chosen)
    for images, numbers in zip(found, chosen, strict=True):
        assert torch.equal(images[:, 0], numbers)


def test_an_error_of_reading_reaches_the_training():
    class Broken:
        def __getitem__(self, numbers):
            if 3 in numbers:
                raise OSError("cannot be read")
            return np.zeros((len(numbers), 2, 2, 3), np.uint8)

    read = reading_ahead.batches(Broken(), torch.arange(4).split(2), pinned=False)
    assert next(read).shape == (2, 2, 2, 3)
    with pytest.raises(OSError, match="cannot be read"):
        next(read)
