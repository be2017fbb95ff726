"""One training a GPU, shown with GPUs that are made up."""

import fcntl
import os

import pytest
import torch
from beansweep.models import gpus


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with two GPUs, and a function that gives one of them to another training."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(gpus, "_name", str)
    monkeypatch.setattr(gpus, "_claimed", {})
    monkeypatch.setattr(gpus.tempfile, "gettempdir", lambda: str(tmp_path))
    held = []

    def take(number: int) -> None:
        lock = (tmp_path / f"beansweep-gpu-{number}.lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        held.append(lock)

    yield take, held
    for lock in held:
        lock.close()


def test_a_training_takes_a_free_gpu_and_keeps_it(machine):
    take, _ = machine
    assert gpus.claim("cuda") == torch.device("cuda", 0)
    assert gpus.claim("cuda") == torch.device("cuda", 0)
    with open(gpus._claimed[0].name) as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    gpus._claimed.clear()
    take(0)
    assert gpus.claim("cuda") == torch.device("cuda", 1)


def test_a_named_gpu_is_waited_for(machine, monkeypatch):
    take, held = machine
    take(1)
    told = []
    monkeypatch.setattr(gpus.progress, "say", told.append)
    monkeypatch.setattr(gpus.time, "sleep", lambda seconds: held.pop().close())
    assert gpus.claim("cuda:1") == torch.device("cuda", 1)
    assert told == ["train.device: every GPU of cuda:1 is taken by a training: waiting"]


def test_another_user_may_read_a_lock_whatever_the_umask(machine):
    before = os.umask(0o077)
    try:
        gpus.claim("cuda")
    finally:
        os.umask(before)
    assert os.stat(gpus._claimed[0].name).st_mode & 0o044 == 0o044
