"""What every stage script does the same way: arguments, log file, progress, errors in one sentence.

The terminal gets progress and single sentences; everything else that a stage or a library
prints, and every traceback, goes to the rule's log file. The log ends with a line `finished` or
`failed: <sentence>`; where there is neither, the stage was killed.
"""

import argparse
import contextlib
import errno
import faulthandler
import io
import json
import multiprocessing
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import cast

from beansweep.common import memory, progress, versions
from beansweep.common.errors import UserError

_FINISHED = "finished"
_FAILED = "failed: "
# The first words of faulthandler when native code crashes.
_CRASHED = "Fatal Python error: "
_MEMORY = "lower train.batch_size or train.image_size, or use fewer cores"


def parser(description: str) -> argparse.ArgumentParser:
    """An argument parser with the arguments that every stage has."""
    result = argparse.ArgumentParser(description=description.splitlines()[0])
    result.add_argument("--settings", type=json.loads, default={}, help="settings, as JSON")
    result.add_argument("--log", type=Path, help="file for all output but progress and errors")
    result.add_argument("--parent", type=int, help="process without which this one ends too")
    return result


def run(arguments: argparse.ArgumentParser, main: Callable[[argparse.Namespace], None]) -> None:
    """Run a stage: `main(args)`, with its output in the log and its errors as one sentence."""
    args = arguments.parse_args()
    try:
        if args.parent:
            _exit_with_parent(args.parent)
        if args.log:
            _write_log(args.log)
            progress.say(f"starting {job(args.log)}")
        faulthandler.enable()
        main(args)
        if args.log:
            print(_FINISHED, flush=True)
    except (Exception, KeyboardInterrupt) as error:
        _tell_failure(error, args.log)
        sys.exit(130 if isinstance(error, KeyboardInterrupt) else 1)


def job(log: Path) -> str:
    """What a job is, by its log file: `evaluate: mobilenet_v3_small int8_static`, `report`."""
    rule, _, detail = log.stem.partition("-")
    if log.parent.name == "logs":
        return rule
    return f"{rule}: {log.parent.name} {detail}".rstrip()


def why_unfinished(log: Path) -> str | None:
    """Why a stage did not finish, in one sentence; None where it did, or where there is no log.

    Parameters
    ----------
    log : the stage's log file
    """
    if not log.exists():
        return None
    for line in reversed(lines(log)):
        if line == _FINISHED:
            return None
        if line.startswith(_FAILED):
            return line.removeprefix(_FAILED)
        if line.startswith(_CRASHED):
            return f"{job(log)} crashed ({line.removeprefix(_CRASHED)}): see {log}"
    return f"{job(log)} was killed, most often for want of memory: {_MEMORY}"


def was_killed(log: Path) -> bool:
    """Whether a stage was killed: it began its log and could write no last line."""
    last_words = (_FAILED, _CRASHED)
    found = lines(log)
    for line in found:
        if line == _FINISHED or line.startswith(last_words):
            return False
    return bool(found)


def lines(log: Path) -> list[str]:
    """The lines of a log, whatever bytes a library wrote into it."""
    return log.read_text(encoding="utf-8", errors="replace").splitlines()


def _write_log(path: Path) -> None:
    """Send standard output and error to a file; the terminal stays for `say` and `progress`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    progress.redirect(os.fdopen(os.dup(2), "w"))
    os.dup2(log, 1)
    os.dup2(log, 2)
    cast(io.TextIOWrapper, sys.stdout).reconfigure(line_buffering=True)
    print(versions.header())


def _tell_failure(error: BaseException, log: Path | None) -> None:
    """Say on the terminal why a stage failed; the log gets the traceback, too."""
    sentence = f"{Path(sys.argv[0]).stem}: {_sentence(error, log)}"
    has_log = progress.terminal() is not sys.stderr
    # Where the disk is full, the log cannot be written either.
    with contextlib.suppress(OSError):
        if has_log or not log:
            traceback.print_exc()
        print(f"{_FAILED if has_log else ''}{sentence}", file=sys.stderr, flush=True)
    if has_log:
        print(sentence, file=progress.terminal(), flush=True)


def _sentence(error: BaseException, log: Path | None) -> str:
    """The one line shown for an error; the log keeps the traceback."""
    text = " ".join(str(error).split())
    if isinstance(error, UserError):
        return text
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; run the same command again to go on"
    if isinstance(error, OSError):
        path = error.filename
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"no space left while writing {path or 'a result'}: free some and run again"
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and path:
            return f"{path} cannot be written or read: fix its permissions and run again"
    if memory.ran_out(error):
        return f"out of memory: {_MEMORY}"
    if isinstance(error, BrokenExecutor):
        return f"a worker process was killed, most often for want of memory: {_MEMORY}"
    where = f" (traceback: {log})" if log else ""
    return f"unexpected {type(error).__name__}: {text[:300]}{where}"


def _exit_with_parent(parent: int) -> None:
    """End this process and its workers soon after its parent: a killed run leaves none at work."""

    def watch() -> None:
        while True:
            try:
                os.kill(parent, 0)
            except ProcessLookupError:
                for worker in multiprocessing.active_children():
                    worker.kill()
                os._exit(1)
            time.sleep(0.3)

    threading.Thread(target=watch, daemon=True).start()
