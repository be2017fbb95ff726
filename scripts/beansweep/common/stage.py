"""What every stage script does the same way: arguments, log file, progress, errors in one sentence.

The terminal gets progress and single sentences; everything else that a stage or a library
prints, and every traceback, goes to the rule's log file.
"""

import argparse
import contextlib
import errno
import faulthandler
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

from beansweep.common import progress, versions
from beansweep.common.errors import UserError


def parser(description: str) -> argparse.ArgumentParser:
    """An argument parser with the arguments that every stage has."""
    result = argparse.ArgumentParser(description=description.splitlines()[0])
    result.add_argument("--settings", type=json.loads, default={}, help="settings, as JSON")
    result.add_argument("--log", type=Path, help="file for all output but progress and errors")
    result.add_argument("--parent", type=int, help="process without which this one ends too")
    return result


def job(log: Path) -> str:
    """What a job is, by its log file: `evaluate: mobilenet_v3_small int8_static`, `report`."""
    rule, _, detail = log.stem.partition("-")
    backbone = "" if log.parent.name == "logs" else log.parent.name
    return ": ".join(filter(None, [rule, f"{backbone} {detail}".strip()]))


_MEMORY = "lower train.batch_size or train.image_size, or use fewer cores"


def _sentence(error: BaseException, log: Path | None) -> str:
    """The one line shown for `error`; the log keeps the traceback."""
    text = " ".join(str(error).split())
    if isinstance(error, UserError):
        return text
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; run the same command again to go on"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"no space left while writing {error.filename or 'a result'}: free some and run again"
        )
    if (
        isinstance(error, OSError)
        and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
        and error.filename
    ):
        return f"{error.filename} cannot be written or read: mend its permissions and run again"
    # PyTorch and ONNX Runtime have no exception of their own for it.
    if isinstance(error, MemoryError) or any(
        words in text for words in ("bad_alloc", "allocate memory", "out of memory")
    ):
        return f"out of memory: {_MEMORY}"
    if isinstance(error, BrokenExecutor):
        return f"a worker process was killed, most often for want of memory: {_MEMORY}"
    where = f" (traceback: {log})" if log else ""
    return f"unexpected {type(error).__name__}: {text[:300]}{where}"


def _write_log(path: Path) -> None:
    """Send standard output and error to a file; the terminal stays for `say` and `progress`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    progress.redirect(os.fdopen(os.dup(2), "w"))
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdout.reconfigure(line_buffering=True)
    print(versions.header())


def _end_with(parent: int) -> None:
    """End this process and its workers soon after another one: a killed run leaves nothing at work."""

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


def run(arguments: argparse.ArgumentParser, main: Callable[[argparse.Namespace], None]) -> None:
    """Run a stage: `main(args)`, with its output in the log and its errors as one sentence."""
    args = arguments.parse_args()
    try:
        if args.parent:
            _end_with(args.parent)
        if args.log:
            _write_log(args.log)
            progress.say(f"starting {job(args.log)}")
        faulthandler.enable()
        main(args)
    except (Exception, KeyboardInterrupt) as error:
        sentence = f"{Path(sys.argv[0]).stem}: {_sentence(error, args.log)}"
        logging = progress.terminal() is not sys.stderr
        # Where the disk is full, the log cannot be written either.
        with contextlib.suppress(OSError):
            if logging or not args.log:
                traceback.print_exc()
            print(sentence, file=sys.stderr, flush=True)
        if logging:
            print(sentence, file=progress.terminal(), flush=True)
        sys.exit(130 if isinstance(error, KeyboardInterrupt) else 1)
