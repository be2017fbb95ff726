"""Lines for the person who watches a run."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TextIO, cast

_terminal: TextIO = sys.stderr

_SECONDS_BETWEEN_LINES = 10


def redirect(terminal: TextIO) -> None:
    """Send what `say` and `track` print to `terminal`; standard output keeps a copy."""
    global _terminal
    _terminal = terminal


def terminal() -> TextIO:
    """Where the person who watches reads."""
    return _terminal


def say(message: str) -> None:
    """Print one line for the person who watches, and keep it in the log."""
    print(message, file=_terminal, flush=True)
    if _terminal is not sys.stderr:
        print(message, flush=True)


def track(items: Iterable, description: str, total: int | None = None) -> Iterator:
    """Iterate, and say in a line now and then how far it is and how long it will take.

    There is no bar, on a terminal either: Snakemake and other jobs write to the same terminal, and
    a bar that is redrawn writes over their lines. Lines can be kept in a file, too.

    Parameters
    ----------
    items : what to iterate over
    description : first words of each line
    total : number of items; needed where `items` has no length
    """
    if total is None:
        total = len(cast(Sized, items))
    start = last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last > _SECONDS_BETWEEN_LINES and done < total:
            last = now
            say(
                f"{description}: {done} of {total} ({done / total:.0%}), "
                f"{duration((total - done) * (now - start) / done)} left"
            )


def storage(count: float) -> str:
    """A number of bytes in words: `40 MB`, `3.2 GB`."""
    return f"{count / 1e6:.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def duration(seconds: float) -> str:
    """A time span in words, in full minutes where it is long: `40 s`, `3 min`."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
