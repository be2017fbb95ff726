"""Work that threads share, with its results in order."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

# Items that each thread works through before the first of their results is taken.
_BLOCK = 8

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Iterator[tuple[Item, Result]]:
    """Call a function for each item, and give each item with its result, in order.

    A block of items at a time is in memory. The next is taken after all results of the one before.

    Parameters
    ----------
    function : releases the interpreter lock for most of its time, as decoding an image does
    """
    waiting = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        while block := list(islice(waiting, _BLOCK * threads)):
            yield from zip(block, pool.map(function, block), strict=True)
