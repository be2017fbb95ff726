"""The machine that latency is measured on."""

import os
import platform

import cpuinfo
import onnxruntime

from beansweep.benchmark import latency
from beansweep.common import pinning, processors, progress


def describe(threads: int) -> dict:
    """What latency depends on besides the models: processor, instruction set, versions, load.

    Parameters
    ----------
    threads : that a model is timed with

    Returns
    -------
    `pinned_to` has the numbers of the processors that each process keeps to; it is empty where the
    system does not permit that. `cpu_quota` is how many processors' time a container may use; None
    for no limit.
    """
    info = cpuinfo.get_cpu_info()
    # A process of its own, because a pinned one stays pinned.
    pinned_to = latency.run_in_fresh_process(pinning.pin, threads)
    if not pinned_to:
        progress.say("bench: this system does not let a process be pinned, so times vary more")
    return {
        "cpu": info.get("brand_raw", platform.processor()),
        "instruction_set": processors.detect(),
        "cores": os.cpu_count(),
        "pinned_to": pinned_to,
        "cpu_quota": pinning.quota(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "load_average": list(os.getloadavg()),
        "governor": pinning.governor(pinned_to[0] if pinned_to else 0),
    }


def thread_counts(wanted: int | list[int]) -> list[int]:
    """The thread counts of `bench.threads` that this process has enough processors for.

    Where there are enough for none of them, the one count is the number of processors.
    """
    wanted = wanted if isinstance(wanted, list) else [wanted]
    available = pinning.cpus()
    possible = [threads for threads in wanted if threads <= available] or [available]
    if possible != wanted:
        progress.say(
            f"bench: {available} processors are too few for bench.threads {wanted}: "
            f"{possible} is timed"
        )
    return possible
