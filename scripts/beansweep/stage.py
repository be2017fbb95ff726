"""What every stage script does the same way: arguments, log file, progress, errors in one sentence.

The terminal gets progress and single sentences; everything else that a stage or a library
prints, and every traceback, goes to the rule's log file.
"""

import argparse
import errno
import faulthandler
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TextIO

from beansweep.preprocess import Unreadable

_terminal: TextIO = sys.stderr
_SECONDS_BETWEEN_LINES = 10


class UserError(Exception):
    """Something that the user can mend; its text is one sentence naming the thing and the mend."""


def parser(description: str) -> argparse.ArgumentParser:
    """An argument parser with the two arguments that every stage has."""
    result = argparse.ArgumentParser(description=description.splitlines()[0])
    result.add_argument("--settings", type=json.loads, default={}, help="settings, as JSON")
    result.add_argument("--log", type=Path, help="file for all output but progress and errors")
    return result


def say(message: str) -> None:
    """Print one line for the person who watches, and keep it in the log."""
    print(message, file=_terminal, flush=True)
    if _terminal is not sys.stderr:
        print(message, flush=True)


def progress(items: Iterable, description: str, total: int | None = None) -> Iterator:
    """Iterate, and say in a line now and then how far it is and how long it will take.

    Lines and not a bar, on a terminal too: Snakemake and the run's other jobs write to the same
    one, and whoever redraws a line there writes over theirs. Lines can also be kept in a file.
    """
    total = total if total is not None else len(items)
    start = last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last > _SECONDS_BETWEEN_LINES and done < total:
            last = now
            say(f"{description}: {done} of {total} ({done / total:.0%}), "
                f"{duration((total - done) * (now - start) / done)} left")


def duration(seconds: float) -> str:
    """A time span in words, in full minutes where it is long: `40 s`, `3 min`."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def job(log: Path) -> str:
    """What a job is, by its log file: `evaluate: mobilenet_v3_small int8_static`, `report`."""
    rule, _, detail = log.stem.partition("-")
    backbone = "" if log.parent.name == "logs" else log.parent.name
    return ": ".join(filter(None, [rule, f"{backbone} {detail}".strip()]))


def _sentence(error: BaseException, log: Path | None) -> str:
    """The one line shown for `error`; the log keeps the traceback."""
    if isinstance(error, UserError | Unreadable):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; run the same command again to go on"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left while writing {error.filename or 'a result'}: free some and run again"
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS) and error.filename:
        return f"{error.filename} cannot be written or read: mend its permissions and run again"
    if isinstance(error, MemoryError):
        return "out of memory: lower train.batch_size or train.image_size, or use fewer cores"
    where = f" (traceback: {log})" if log else ""
    return f"unexpected {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}{where}"


def run(arguments: argparse.ArgumentParser, main: Callable[[argparse.Namespace], None]) -> None:
    """Run a stage: `main(args)`, with its output in the log and its errors as one sentence."""
    global _terminal
    args = arguments.parse_args()
    if args.log:
        _terminal = os.fdopen(os.dup(2), "w")
        args.log.parent.mkdir(parents=True, exist_ok=True)
        log = os.open(args.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.stdout.reconfigure(line_buffering=True)
    faulthandler.enable()
    try:
        if args.log:
            say(f"starting {job(args.log)}")
        main(args)
    except (Exception, KeyboardInterrupt) as error:
        traceback.print_exc()
        print(f"{Path(sys.argv[0]).stem}: {_sentence(error, args.log)}", file=_terminal, flush=True)
        sys.exit(130 if isinstance(error, KeyboardInterrupt) else 1)
