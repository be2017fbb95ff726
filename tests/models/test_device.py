"""The device that a backbone is trained on."""

import pytest
import torch
from beansweep.common import progress
from beansweep.common.errors import UserError
from beansweep.models import training


@pytest.fixture
def messages(monkeypatch):
    """What is told, on a machine with an old GPU that torch has no kernels for."""
    told, ones = [], torch.ones

    def without_kernels(size, device):
        if device == "cuda":
            raise RuntimeError("CUDA error: no kernel image is available\nCompile with ...")
        return ones(size, device=device)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch, "ones", without_kernels)
    monkeypatch.setattr(progress, "say", told.append)
    return told


def test_a_gpu_without_kernels_is_left_for_the_processor_with_a_line(messages):
    assert training.choose_device("auto") == torch.device("cpu")
    assert messages == [
        "train.device: cuda cannot be used (CUDA error: no kernel image is available), so cpu is"
    ]


def test_a_gpu_that_was_asked_for_and_cannot_be_used_is_refused(messages):
    with pytest.raises(UserError, match=r"cuda cannot be used \(CUDA error: no kernel image is"):
        training.choose_device("cuda")
    with pytest.raises(UserError, match=r"mps cannot be used \(it is not available on this"):
        training.choose_device("mps")
    assert training.choose_device("cpu") == torch.device("cpu")


def test_a_machine_without_a_gpu_says_nothing(messages, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert training.choose_device("auto") == torch.device("cpu")
    assert not messages
