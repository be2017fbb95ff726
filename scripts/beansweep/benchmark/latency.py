"""Latency of a backbone's variants: interleaved, pinned, in fresh processes.

This follows the single-stream scenario of MLPerf Inference (Reddi et al. 2020, "MLPerf Inference
Benchmark"). A query is sent when the one before it is done. Quantiles are over all queries.
"""

import itertools
import math
import multiprocessing
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from beansweep.analysis import intervals
from beansweep.benchmark import control_model, worker
from beansweep.benchmark.worker import CONTROL_MODEL, CONTROLS, FP32_AGAIN
from beansweep.models import model_metadata

# Of every interval in latency.json.
CONFIDENCE = 0.95
# Fresh processes in which each variant is loaded alone, for its load time and memory.
_COLD_STARTS = 3


def available(metadata_files: Iterable[Path]) -> dict[str, Path]:
    """The metadata files of the variants that the backbone can have: variant -> file."""
    found = {}
    for path in metadata_files:
        if not model_metadata.unavailable(path):
            found[path.stem] = path.resolve()
    return found


def run_in_fresh_process(function: Callable, *arguments):
    """Call a function in a process of its own and return its result.

    Raises
    ------
    BrokenExecutor
        That process was killed. (A multiprocessing.Pool would wait for it forever.)
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def measure(
    metadata_files: dict[str, Path],
    photographs: list[bytes],
    settings: dict,
    watch: Callable[[list], Iterable],
) -> dict:
    """Time the variants of one backbone, interleaved with two controls.

    The control `fp32_again` is the same file as fp32. Its ratio to fp32 shows what ratio the
    machine's noise alone can make. The control model is the same in every bench.

    Parameters
    ----------
    metadata_files : variant -> metadata file; `fp32` is among them
    photographs : image files' bytes, from the test images
    settings : threads, batch_size, processes, rounds, queries, warmup and seed, as in config.yaml
    watch : wraps the iteration over processes, to show progress

    Returns
    -------
    `variants` : variant -> figures of `summarise` and `_variant_figures`
    `controls` : control -> figures of `summarise`
    `by_threads` : thread count -> variant -> p50 in ms; all other figures are of the first count
    """
    with tempfile.TemporaryDirectory() as folder:
        controls = _write_controls(metadata_files["fp32"], Path(folder))
        alone, end_to_end, cold_starts = _time(
            metadata_files, controls, photographs, settings, watch
        )
    samples = {}
    for name, times in alone[settings["threads"][0]].items():
        samples[name] = np.asarray(times)
    figures = {}
    for name in samples:
        figures[name] = summarise(samples[name], samples["fp32"], settings["batch_size"])
    for name, metadata_file in metadata_files.items():
        figures[name] |= _variant_figures(
            metadata_file, samples[name], np.asarray(end_to_end[name]), cold_starts[name]
        )
    return {
        "variants": {name: figures[name] for name in metadata_files},
        "controls": {name: figures[name] for name in CONTROLS},
        "by_threads": _medians_by_threads(alone, list(metadata_files)),
    }


def _time(
    metadata_files: dict[str, Path],
    controls: dict[str, Path],
    photographs: list[bytes],
    settings: dict,
    watch: Callable[[list], Iterable],
) -> tuple[dict[int, dict[str, list]], dict[str, list], dict[str, list[dict]]]:
    """Run all processes of a bench, and collect what they measured.

    Returns
    -------
    alone : thread count -> variant or control -> [processes][rounds][queries], in ms
    end_to_end : variant -> [processes][rounds][queries], in ms, at the first thread count
    cold_starts : variant -> figures of `worker.cold_start`, one dictionary a process
    """
    alone: dict[int, dict[str, list]] = {}
    for threads in settings["threads"]:
        alone[threads] = defaultdict(list)
    end_to_end: dict[str, list] = defaultdict(list)
    cold_starts: dict[str, list[dict]] = defaultdict(list)
    runs = list(itertools.product(settings["threads"], range(settings["processes"])))
    for threads, process in watch(runs):
        times, end_to_end_times = run_in_fresh_process(
            worker.time_all, metadata_files | controls, photographs, settings, threads, process
        )
        _append_each(alone[threads], times)
        if threads == settings["threads"][0]:
            _append_each(end_to_end, end_to_end_times)
            if process < _COLD_STARTS:
                costs = _start_cold(metadata_files, photographs[0], settings, threads)
                _append_each(cold_starts, costs)
    return alone, end_to_end, cold_starts


def summarise(samples: np.ndarray, reference: np.ndarray, batch_size: int) -> dict:
    """Figures of one model's queries, with no query left out.

    The intervals are Student's, over the logarithms of the processes' medians. Queries of one
    process are not independent: they share its memory layout and its neighbours on the machine.
    One process alone gives no interval.

    Parameters
    ----------
    samples : float [processes, rounds, queries], ms of a model's queries
    reference : float [processes, rounds, queries], ms of FP32's queries in the same processes
    batch_size : images a query

    Returns
    -------
    `p50_ms`, `p90_ms`, `p95_ms`, `p99_ms` and `mean_ms`; `p50_low_ms` and `p50_high_ms`;
    `speedup`, the reference's p50 divided by the model's, with `speedup_low` and `speedup_high`;
    `queries`, their number; `images_per_second`. An end without a bound is None.
    """
    log_medians = np.log(np.median(samples, axis=(1, 2)))
    log_reference = np.log(np.median(reference, axis=(1, 2)))
    _, p50_low, p50_high = intervals.mean_interval(log_medians, CONFIDENCE)
    speedup, low, high = intervals.mean_interval(log_reference - log_medians, CONFIDENCE)
    return {
        **percentiles(samples, (50, 90, 95, 99)),
        "p50_low_ms": _exponential(p50_low),
        "p50_high_ms": _exponential(p50_high),
        "speedup": math.exp(speedup),
        "speedup_low": _exponential(low),
        "speedup_high": _exponential(high),
        "mean_ms": float(samples.mean()),
        "queries": samples.size,
        "images_per_second": float(1e3 * batch_size / samples.mean()),
    }


def medians(variants: dict[str, dict]) -> str:
    """The median of each variant, in one clause: `fp32 p50 0.83 ms, int8_static p50 0.44 ms`."""
    return ", ".join(f"{name} p50 {figures['p50_ms']:.2f} ms" for name, figures in variants.items())


def percentiles(samples: np.ndarray, percents: Iterable[int], prefix: str = "") -> dict[str, float]:
    """Percentiles of all samples, in ms: `{prefix}p50_ms` and so on."""
    return {
        f"{prefix}p{percent}_ms": float(np.percentile(samples, percent)) for percent in percents
    }


def _exponential(logarithm: float) -> float | None:
    """The number with this logarithm; None for an infinite one, which JSON cannot hold."""
    return math.exp(logarithm) if math.isfinite(logarithm) else None


def _write_controls(fp32: Path, folder: Path) -> dict[str, Path]:
    """Write both controls to `folder`: control -> metadata file.

    They have files of their own, so that no two sessions share anything.
    """
    shutil.copy(fp32.with_suffix(".onnx"), folder)
    return {
        FP32_AGAIN: Path(shutil.copy(fp32, folder)),
        CONTROL_MODEL: control_model.write(folder),
    }


def _append_each(lists: dict[str, list], values: dict) -> None:
    """Append each name's value to the list of that name."""
    for name, value in values.items():
        lists[name].append(value)


def _start_cold(
    metadata_files: dict[str, Path], photograph: bytes, settings: dict, threads: int
) -> dict[str, dict]:
    """What each variant costs alone in a fresh process: variant -> figures of a cold start."""
    costs = {}
    for name, metadata_file in metadata_files.items():
        costs[name] = run_in_fresh_process(
            worker.cold_start, metadata_file, photograph, settings, threads
        )
    return costs


def _variant_figures(
    metadata_file: Path, samples: np.ndarray, end_to_end: np.ndarray, cold_starts: list[dict]
) -> dict:
    """What latency.json has of a variant and not of a control.

    Parameters
    ----------
    samples, end_to_end : float [processes, rounds, queries], in ms
    cold_starts : figures of `worker.cold_start`, one dictionary a process

    Returns
    -------
    `end_to_end_p50_ms` and `end_to_end_p90_ms`; `megabytes` of the model file; medians of the
    cold starts; and every sample in ms, `samples_ms` and `end_to_end_samples_ms`.
    """
    figures = percentiles(end_to_end, (50, 90), "end_to_end_")
    figures["megabytes"] = metadata_file.with_suffix(".onnx").stat().st_size / 1e6
    for key in cold_starts[0]:
        figures[key] = float(np.median([costs[key] for costs in cold_starts]))
    figures["samples_ms"] = samples.round(4).tolist()
    figures["end_to_end_samples_ms"] = end_to_end.round(4).tolist()
    return figures


def _medians_by_threads(alone: dict[int, dict[str, list]], names: list[str]) -> dict:
    """P50 in ms of each variant at each thread count: thread count -> variant -> p50."""
    medians = {}
    for threads, times in alone.items():
        medians[str(threads)] = {name: float(np.median(times[name])) for name in names}
    return medians
