"""Memory: what is freed is kept for the next use, and the want of it, by the error that tells."""

import ctypes

_SIGNS = ("bad_alloc", "allocate memory", "out of memory")
# Of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def keep_freed() -> None:
    """Let this process keep what it frees, for what it allocates next.

    glibc takes blocks of over 32 MB from the system each time, and gives them back when they are
    freed. The system clears their pages each time. A network's activations are such blocks, and a
    batch of them is freed at each step (mallopt(3); PyTorch's "Performance Tuning Guide"). With
    another C library, nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)


def ran_out(error: BaseException) -> bool:
    """Whether memory ran out; PyTorch and ONNX Runtime have no exception of their own for it."""
    if isinstance(error, MemoryError) or any(sign in str(error) for sign in _SIGNS):
        return True
    # Some libraries wrap what they meet in errors of their own.
    cause = error.__cause__ or error.__context__
    return cause is not None and ran_out(cause)
