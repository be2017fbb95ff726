"""Freed memory is kept, and want of memory is known by many errors, and by what they wrap."""

import os
import resource
import subprocess
import sys

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


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_freed_blocks_are_kept_for_the_next_ones():
    # In 20 rounds of 64 MB, the system gives all pages each time, or those of the first round.
    code = """
import ctypes, resource, sys
import numpy as np
from beansweep.common import memory
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # Pages of one size (PR_SET_THP_DISABLE).
if sys.argv[1] == "keep":
    memory.keep_freed()
for _ in range(20):
    np.empty(2**23).fill(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""

    def faults(how: str) -> int:
        command = [sys.executable, "-c", code, how]
        found = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        return int(found.stdout)

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    rounds = 2**26 // resource.getpagesize()
    assert faults("as it is") - faults("keep") > 10 * rounds
