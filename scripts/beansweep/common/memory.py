"""Want of memory, by the error that tells of it."""

_SIGNS = ("bad_alloc", "allocate memory", "out of memory")


def ran_out(error: BaseException) -> bool:
    """Whether memory ran out; PyTorch and ONNX Runtime have no exception of their own for it."""
    if isinstance(error, MemoryError) or any(sign in str(error) for sign in _SIGNS):
        return True
    # Some libraries wrap what they meet in errors of their own.
    cause = error.__cause__ or error.__context__
    return cause is not None and ran_out(cause)
