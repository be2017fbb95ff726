"""Want of memory is known by many errors, and by what they wrap."""

import pytest
from beansweep.common import memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_want_of_memory_is_known_also_within_another_error(error):
    assert memory.ran_out(error)
    try:
        try:
            raise error
        except Exception as cause:
            raise ValueError("step 0 failed") from cause
    except ValueError as wrapped:
        assert memory.ran_out(wrapped)


def test_another_error_is_none():
    assert not memory.ran_out(ValueError("operands could not be broadcast together"))
