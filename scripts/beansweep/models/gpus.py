"""One training a GPU: each claims one that no other training of this machine has.

Snakemake's resource `gpu` bounds how many trainings run at a time. Which GPU each of them takes is
settled here, also between sweeps in two folders.
"""

import fcntl
import tempfile
import time
from pathlib import Path
from typing import IO

import torch

from beansweep.common import progress

# Seconds between two looks for a free GPU.
_PATIENCE = 2
# Number of each GPU that this process has claimed -> its lock, which the kernel frees at its end.
_claimed: dict[int, IO] = {}


def claim(device: str) -> torch.device:
    """Claim a GPU until this process ends, and wait for one where all are taken.

    Parameters
    ----------
    device : `cuda` for any, or `cuda:1` for that one
    """
    index = torch.device(device).index
    wanted = range(torch.cuda.device_count()) if index is None else [index]
    waits = False
    while True:
        for number in wanted:
            if number in _claimed or _lock(number):
                return torch.device("cuda", number)
        if not waits:
            progress.say(f"train.device: every GPU of {device} is taken by a training: waiting")
        waits = True
        time.sleep(_PATIENCE)


def _lock(number: int) -> bool:
    """Try to claim a GPU by its number; whether that worked."""
    lock = _open(Path(tempfile.gettempdir()) / f"beansweep-gpu-{_name(number)}.lock")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return False
    _claimed[number] = lock
    return True


def _open(path: Path) -> IO:
    """Open a lock that another user may have made: it is read alone, and never removed."""
    try:
        return path.open("rb")
    except FileNotFoundError:
        path.touch()
        # Whatever this user's umask is, others may read it.
        path.chmod(0o644)
        return path.open("rb")


def _name(number: int) -> str:
    """What a GPU is called in every process: its number depends on what the process may see."""
    return str(torch.cuda.get_device_properties(number).uuid)
