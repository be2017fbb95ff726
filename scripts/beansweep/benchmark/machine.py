"""The machine that latency is measured on."""

import os
import platform
from pathlib import Path

import cpuinfo
import onnxruntime

from beansweep.common import processors, progress


def describe() -> dict:
    """What latency depends on besides the models: processor, instruction set, versions, load."""
    info = cpuinfo.get_cpu_info()
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return {
        "cpu": info.get("brand_raw", platform.processor()),
        "instruction_set": processors.detect(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "load_average": list(os.getloadavg()),
        "governor": governor.read_text().strip() if governor.exists() else "unknown",
    }


def thread_counts(wanted: int | list[int]) -> list[int]:
    """The thread counts of `bench.threads` that this process has enough processors for.

    Where there are enough for none of them, the one count is the number of processors.
    """
    wanted = wanted if isinstance(wanted, list) else [wanted]
    available = processors.cpus()
    possible = [threads for threads in wanted if threads <= available] or [available]
    if possible != wanted:
        progress.say(
            f"bench: {available} processors are too few for bench.threads {wanted}: "
            f"{possible} is timed"
        )
    return possible
