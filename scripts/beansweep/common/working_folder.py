"""The folder that a sweep runs in: one run at a time, on files that can be written."""

import atexit
import contextlib
import fcntl
import os
import platform
import shutil
import sys
import time
from pathlib import Path

from beansweep.common.errors import UserError

_CLAIM = "run.lock"
_CLAIM_WITHOUT_LOCKS = "run.claimed"


def claim(records: Path) -> contextlib.ExitStack:
    """Claim the working folder for this process, until the returned claim is closed.

    The kernel ends the claim however the process ends, so nothing has to be unlocked. Only where
    the file system locks no files, as some network ones, a run that is killed leaves a lock.

    Parameters
    ----------
    records : Snakemake's folder, `.snakemake`

    Raises
    ------
    UserError
        Another process has claimed the folder.
    """
    records.mkdir(exist_ok=True)
    held = contextlib.ExitStack()
    lock = held.enter_context((records / _CLAIM).open("a+", encoding="utf-8"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        raise UserError(
            f"another run (process {lock.read().strip()}) is at work in {Path.cwd()}: let it end, "
            "or give this one a folder of its own with --directory"
        ) from None
    except OSError as error:
        _claim_without_locks(records / _CLAIM_WITHOUT_LOCKS, held, error)
    lock.truncate(0)
    print(os.getpid(), file=lock, flush=True)
    return held


def _claim_without_locks(file: Path, held: contextlib.ExitStack, error: OSError) -> None:
    """Claim the folder by a file that only one process can create, as Snakemake's own lock.

    Parameters
    ----------
    file : to create
    held : removes the file when it is closed, or when the process ends
    error : why the file system locks no files

    Raises
    ------
    UserError
        The file is there.
    """
    try:
        with file.open("x", encoding="utf-8") as created:
            created.write(f"process {os.getpid()} on {platform.node()}")
    except FileExistsError:
        raise UserError(
            f"another run ({file.read_text(encoding='utf-8')}) is at work in {Path.cwd()}, or was "
            f"killed: let it end, or remove {file} if it has"
        ) from None
    held.callback(file.unlink, missing_ok=True)
    atexit.register(held.close)
    print(
        f"{Path.cwd()} is on a file system that locks no files ({error.strerror}), so {file} "
        "marks this run: remove it if the run is killed",
        file=sys.stderr,
    )


def unlock(records: Path) -> None:
    """Remove the lock of Snakemake's own that a killed run left; that of a run at work stays.

    Parameters
    ----------
    records : Snakemake's folder, `.snakemake`
    """
    locks = records / "locks"
    if locks.is_dir() and any(locks.iterdir()):
        with contextlib.suppress(UserError), claim(records):
            shutil.rmtree(locks)


def check_writable(results: Path) -> None:
    """Check that results can be written.

    Raises
    ------
    UserError
        The folder is read-only, or its disk is full.
    """
    probe = results / ".probe"
    try:
        results.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(bytes(4096))
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"nothing can be written to {results.resolve()} ({error.strerror}): fix that, "
            "or name another folder with --directory"
        ) from error


def clamp_future_mtimes(results: Path) -> None:
    """Give the present time to files from the future, written before a clock was set back.

    Snakemake refuses outputs that are older than their inputs.
    """
    now = time.time()
    for path in results.rglob("*"):
        if path.lstat().st_mtime > now:
            os.utime(path, (now, now), follow_symlinks=False)


def lost_records(results: Path, records: Path) -> str | None:
    """A sentence on results without Snakemake's records of them; None where they have records.

    Parameters
    ----------
    results : the folder of results
    records : Snakemake's folder, `.snakemake`
    """
    has_records = any(records.glob("metadata/*"))
    if has_records or not (results / "dataset/manifest.csv").exists():
        return None
    return (
        f"{results}/ is here without the {records} folder that tells what it was made from, so it "
        "is taken as it is: bring that folder too, or make everything again with --forceall"
    )


def claimed_at(records: Path) -> float:
    """When the run that has claimed the working folder began, in seconds since the epoch."""
    return (records / _CLAIM).stat().st_mtime
