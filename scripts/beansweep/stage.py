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

from tqdm import tqdm

from beansweep.preprocess import Unreadable

_terminal: TextIO = sys.stderr
_SECONDS_BETWEEN_LINES = 20


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
    tqdm.write(message, file=_terminal)
    _terminal.flush()
    if _terminal is not sys.stderr:
        print(message, flush=True)


def progress(items: Iterable, description: str, total: int | None = None) -> Iterator:
    """Iterate with a bar on a terminal; elsewhere, with a plain line now and then."""
    if _terminal.isatty():
        yield from tqdm(items, description, total, file=_terminal, leave=False, dynamic_ncols=True)
        return
    total = total if total is not None else len(items)
    last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        if time.monotonic() - last > _SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            say(f"{description}: {done} of {total}")


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
        main(args)
    except (Exception, KeyboardInterrupt) as error:
        traceback.print_exc()
        print(f"{Path(sys.argv[0]).stem}: {_sentence(error, args.log)}", file=_terminal, flush=True)
        sys.exit(130 if isinstance(error, KeyboardInterrupt) else 1)
