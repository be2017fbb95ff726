"""The processors that a process may use, and those of them that a measurement keeps to.

The deployed predictor holds a copy of this code (see `beansweep.deploy.bundle`).
"""

import os
from pathlib import Path

_PROCESSORS = Path("/sys/devices/system/cpu")
# Linux's own measure of a core, and its highest clock; big.LITTLE has at least one of them.
_SPEEDS = ("cpu_capacity", "cpufreq/cpuinfo_max_freq")
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")


def pin(threads: int) -> list[int]:
    """Keep this process on as many processors as it has threads.

    Returns
    -------
    The numbers of these processors, fastest first; none where the system cannot pin or does not
    permit it, as in some containers.
    """
    if not hasattr(os, "sched_setaffinity"):
        return []
    chosen = fastest(os.sched_getaffinity(0), threads)
    try:
        os.sched_setaffinity(0, chosen)
    except OSError:
        return []
    return chosen


def fastest(allowed: set[int], threads: int) -> list[int]:
    """The processors for a number of threads, fastest first.

    Two processors of one physical core share its arithmetic units. So the second one is taken only
    where no other core is left.

    Parameters
    ----------
    allowed : numbers of the processors to choose from
    threads : how many to choose; fewer are returned where fewer are allowed
    """
    first_of_core, others, cores = [], [], set()
    for processor in sorted(allowed, key=_fastest_first):
        core = _core(processor)
        if core in cores:
            others.append(processor)
        else:
            first_of_core.append(processor)
        cores.add(core)
    return (first_of_core + others)[:threads]


def _fastest_first(processor: int) -> tuple[int, ...]:
    """The key that sorts processors; where the system tells no speed, by their numbers."""
    folder = _PROCESSORS / f"cpu{processor}"
    return (*(-_number(folder / speed) for speed in _SPEEDS), processor)


def _core(processor: int) -> str:
    """The processors of one physical core, as Linux lists them: `0,4`, or `0-1`."""
    try:
        return (_PROCESSORS / f"cpu{processor}/topology/thread_siblings_list").read_text()
    except OSError:
        return str(processor)


def governor(processor: int) -> str:
    """What sets the clock of a processor; `unknown` where the system does not say."""
    try:
        return (_PROCESSORS / f"cpu{processor}/cpufreq/scaling_governor").read_text().strip()
    except OSError:
        return "unknown"


def cpus() -> int:
    """Processors that this process may use, by its affinity and its quota; at least 1."""
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    limit = quota()
    return allowed if limit is None else max(1, min(allowed, int(limit)))


def threads(cores: int, wanted: int) -> int:
    """Threads of a job, at most as many as there are processors.

    A run may be given more cores than that: `--cores 4` is accepted on two. Threads that wait for
    each other on one processor halve the speed.

    Parameters
    ----------
    cores : of the run, that the job has
    wanted : by the configuration
    """
    return min(cores, wanted, cpus())


def quota() -> float | None:
    """How many processors' time this process may use, as a container sets it; None for no limit.

    It is in the control groups of Linux, version 2 (`cpu.max`) or 1 (`cpu.cfs_quota_us`): the least
    one of the process's own group and of those around it.
    """
    limits = []
    for group in _groups():
        limits += [_limit_of_version_2(group), _limit_of_version_1(group)]
    return min((limit for limit in limits if limit), default=None)


def _groups() -> list[Path]:
    """Folders of this process's control groups, and of those around them."""
    folders = [_CGROUPS, _CGROUPS / "cpu"]
    try:
        lines = _OWN_CGROUPS.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        # Version 2 names no controllers.
        if controllers == "" or "cpu" in controllers.split(","):
            folder = _CGROUPS / "cpu" if controllers else _CGROUPS
            for part in Path(path).parts[1:]:
                folder = folder / part
                folders.append(folder)
    return folders


def _limit_of_version_2(group: Path) -> float | None:
    """Processors that `cpu.max` allows: `150000 100000`, in microseconds, is 1.5 of them."""
    try:
        limit, period = (group / "cpu.max").read_text().split()
        return int(limit) / int(period)
    except (OSError, ValueError):  # No such file, or `max`.
        return None


def _limit_of_version_1(group: Path) -> float | None:
    """The same, of two files; -1 is no limit."""
    limit = _number(group / "cpu.cfs_quota_us")
    period = _number(group / "cpu.cfs_period_us")
    return limit / period if limit > 0 and period > 0 else None


def _number(file: Path) -> int:
    """The number in a file; 0 where there is none."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return 0
