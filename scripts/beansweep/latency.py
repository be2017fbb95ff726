"""Timing of models beside each other: interleaved, pinned, in fresh processes.

In the spirit of MLPerf Inference's single-stream scenario (Reddi et al. 2020): a query is sent
when the one before it is done, and quantiles are over all queries, none left out.
"""

import multiprocessing
import os
import platform
import time
from pathlib import Path

import cpuinfo
import numpy as np
import onnxruntime
import psutil

from beansweep import instruction_sets, runtime


def machine() -> dict:
    """What the figures depend on beside the models: processor, instruction set, versions, load."""
    info = cpuinfo.get_cpu_info()
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return {
        "cpu": info.get("brand_raw", platform.processor()),
        "instruction_set": instruction_sets.detect(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "load_average": list(os.getloadavg()),
        "governor": governor.read_text().strip() if governor.exists() else "unknown",
    }


def _pin(threads: int) -> None:
    """Keep this process on as many processors as it has threads, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def _time_all(cards: dict[str, Path], inputs: np.ndarray, settings: dict, process: int) -> dict[str, list[list[float]]]:
    """In this process, time every model: variant -> rounds -> milliseconds of each query."""
    _pin(settings["threads"])
    rng = np.random.default_rng([settings["seed"], process])
    names = list(cards)
    sessions = {name: runtime.load(cards[name], threads=settings["threads"])[0] for name in rng.permutation(names)}
    batches = [np.ascontiguousarray(np.take(inputs, range(i, i + settings["batch_size"]), axis=0, mode="wrap"))
               for i in range(len(inputs))]
    samples = {name: [] for name in names}
    for round_ in range(-1, settings["rounds"]):
        for name in rng.permutation(names):
            session, feed = sessions[name], sessions[name].get_inputs()[0].name
            times = []
            for query in range(settings["queries"] if round_ >= 0 else settings["warmup"]):
                # Every variant sees the same images in the same round.
                batch = batches[(max(round_, 0) * settings["queries"] + query) % len(batches)]
                start = time.perf_counter_ns()
                session.run(None, {feed: batch})
                times.append((time.perf_counter_ns() - start) / 1e6)
            if round_ >= 0:
                samples[name].append(times)
    return samples


def _cold(card: Path, inputs: np.ndarray, settings: dict) -> dict:
    """In this process, what one model costs from nothing: load, first query, memory."""
    _pin(settings["threads"])
    process = psutil.Process()
    before = process.memory_info().rss
    start = time.perf_counter()
    session, _ = runtime.load(card, threads=settings["threads"])
    loaded = time.perf_counter()
    feed, batch = session.get_inputs()[0].name, np.resize(inputs, (settings["batch_size"], *inputs.shape[1:]))
    session.run(None, {feed: batch})
    first = time.perf_counter()
    for _ in range(10):
        session.run(None, {feed: batch})
    return {"load_ms": 1e3 * (loaded - start), "first_query_ms": 1e3 * (first - loaded),
            "peak_memory_mb": _peak_memory() / 1e6, "model_memory_mb": (_peak_memory() - before) / 1e6}


def _peak_memory() -> int:
    """Largest resident size of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage: on Linux its maximum starts from the parent's.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else 1024 * peak


def fresh(function, *arguments):
    """Call a function in a process of its own and return its result."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def measure(cards: dict[str, Path], inputs: np.ndarray, settings: dict, watch) -> dict:
    """Time models beside each other.

    Parameters
    ----------
    cards : variant -> card file
    inputs : float32 [n, 3, size, size], real images
    settings : threads, batch_size, processes, rounds, queries, warmup and seed, as in config.yaml
    watch : wraps the iteration over processes, to show progress

    Returns
    -------
    variant -> quantiles over all queries in ms (p50, p90, p95, p99, mean), beans_per_second,
    megabytes, load and memory figures (medians over processes), and the samples: processes ->
    rounds -> ms.
    """
    samples = {name: [] for name in cards}
    cold = {name: [] for name in cards}
    for process in watch(range(settings["processes"])):
        for name, rounds in fresh(_time_all, cards, inputs, settings, process).items():
            samples[name].append([[round(ms, 4) for ms in times] for times in rounds])
        for name, card in cards.items():
            cold[name].append(fresh(_cold, card, inputs[:1], settings))
    return {name: {
        **summarise(np.asarray(samples[name]), settings["batch_size"]),
        "megabytes": cards[name].with_suffix(".onnx").stat().st_size / 1e6,
        **{key: float(np.median([each[key] for each in cold[name]])) for key in cold[name][0]},
        "samples_ms": samples[name],
    } for name in cards}


def summarise(samples: np.ndarray, batch_size: int) -> dict:
    """Quantiles of all queries, in ms, and images a second: samples of any shape, in ms."""
    return {
        **{f"p{q}_ms": float(np.percentile(samples, q)) for q in (50, 90, 95, 99)},
        "mean_ms": float(samples.mean()),
        "queries": samples.size,
        "beans_per_second": float(1e3 * batch_size / samples.mean()),
    }
