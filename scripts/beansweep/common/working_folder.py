"""The folder that a sweep runs in: one run at a time, on files that can be written."""

import contextlib
import fcntl
import os
import shutil
import time
from pathlib import Path
from typing import TextIO

from beansweep.common.errors import UserError


def claim(records: Path) -> TextIO:
    """Claim the working folder for this process, for as long as the returned file stays open.

    The kernel takes the claim back however the process ends: there is nothing to unlock.

    Parameters
    ----------
    records : Snakemake's folder, `.snakemake`

    Raises
    ------
    UserError
        Another process has claimed the folder.
    """
    records.mkdir(exist_ok=True)
    lock = (records / "run.lock").open("a+", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        raise UserError(
            f"another run (process {lock.read().strip()}) is at work in {Path.cwd()}: let it end, or give "
            "this one a folder of its own with --directory"
        ) from None
    lock.truncate(0)
    print(os.getpid(), file=lock, flush=True)
    return lock


def unlock(records: Path) -> None:
    """Take away the lock of Snakemake's own that a killed run left behind; that of a run at work stays."""
    locks = records / "locks"
    if locks.is_dir() and any(locks.iterdir()):
        with contextlib.suppress(UserError), claim(records):
            shutil.rmtree(locks)


def check_writable(results: Path) -> None:
    """Check that results can be written.

    Raises
    ------
    UserError
        They cannot: the folder is read-only, or its disk is full.
    """
    probe = results / ".probe"
    try:
        results.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(bytes(4096))
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"nothing can be written to {results.resolve()} ({error.strerror}): mend that, or name another "
            "folder with --directory"
        ) from error


def forget_the_future(results: Path) -> None:
    """Give the present time to files from the future, written before a clock was set back.

    Snakemake refuses outputs that are older than their inputs.
    """
    now = time.time()
    for path in results.rglob("*"):
        if path.lstat().st_mtime > now:
            os.utime(path, (now, now), follow_symlinks=False)
