"""Latency of a backbone's variants: interleaved, pinned, in fresh processes.

This follows the single-stream scenario of MLPerf Inference (Reddi et al. 2020, "MLPerf Inference
Benchmark"). A query is sent when the one before it is done. Quantiles are over all queries.
"""

import itertools
import multiprocessing
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from beansweep.analysis import timing
from beansweep.benchmark import control_model, integer_products, same_arithmetic, worker
from beansweep.benchmark.controls import CONTROL_MODEL, CONTROLS, FP32_AGAIN
from beansweep.data import manifest as manifests
from beansweep.models import model_metadata

# Photographs that queries are made of.
_PHOTOGRAPHS = 32
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
    `variants` : variant -> figures of `timing.summarise` and `_variant_figures`, `samples_ms`,
        `integer_products_ms`, see `integer_products`, and `megabytes` of the model file
    `controls` : control -> figures of `timing.summarise`, `samples_ms`
    `by_threads` : thread count -> variant -> p50 in ms; all other figures are of the first count

    Variants of the same arithmetic are timed once, and differ in their size alone.
    """
    same = same_arithmetic.first_of_same(metadata_files)
    timed = {name: metadata_files[name] for name in dict.fromkeys(same.values())}
    with tempfile.TemporaryDirectory() as folder:
        controls = _write_controls(metadata_files["fp32"], Path(folder))
        alone, end_to_end, cold_starts = _time(timed, controls, photographs, settings, watch)
    products = run_in_fresh_process(integer_products.times, timed, settings["threads"][0])
    figures = {}
    for name, times in alone[settings["threads"][0]].items():
        figures[name] = summarise(np.asarray(times), settings["batch_size"])
    for name in timed:
        figures[name] |= _variant_figures(np.asarray(end_to_end[name]), cold_starts[name])
        figures[name]["integer_products_ms"] = products[name]
    variants = {}
    for name, first in same.items():
        size = metadata_files[name].with_suffix(".onnx").stat().st_size
        variants[name] = figures[first] | {"megabytes": size / 1e6}
    return {
        "variants": variants,
        "controls": {name: figures[name] for name in CONTROLS},
        "by_threads": _medians_by_threads(alone, same),
    }


def photographs(manifest: Path, root: Path, seed: int) -> list[bytes]:
    """Bytes of some test images, drawn with a seed.

    Parameters
    ----------
    manifest : manifest.csv of the data set
    root : folder of the images
    """
    paths = manifests.paths(manifests.read(manifest), "test", limit=_PHOTOGRAPHS, seed=seed)
    return [(root / path).read_bytes() for path in paths]


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
    models, plan = metadata_files | controls, None
    for threads, process in watch(runs):
        times, end_to_end_times = run_in_fresh_process(
            worker.time_all, models, photographs, settings, threads, process, plan
        )
        plan = plan or worker.plan_of(times)
        append_each(alone[threads], times)
        if threads == settings["threads"][0]:
            append_each(end_to_end, end_to_end_times)
            if process < _COLD_STARTS:
                costs = _start_cold(metadata_files, photographs[0], settings, threads)
                append_each(cold_starts, costs)
    return alone, end_to_end, cold_starts


def summarise(samples: np.ndarray, batch_size: int) -> dict:
    """Figures of one model's queries, and every sample.

    Parameters
    ----------
    samples : float [processes, rounds, queries], in ms
    batch_size : images a query
    """
    return {**timing.summarise(samples, batch_size), "samples_ms": samples.round(4).tolist()}


def end_to_end_figures(samples: np.ndarray) -> dict:
    """`end_to_end_p50_ms`, `end_to_end_p90_ms`, and every sample.

    Parameters
    ----------
    samples : float [processes, rounds, queries], in ms
    """
    return {
        **timing.percentiles(samples, (50, 90), "end_to_end_"),
        "end_to_end_samples_ms": samples.round(4).tolist(),
    }


def medians(variants: dict[str, dict]) -> str:
    """The median of each variant, in one clause: `fp32 p50 0.83 ms, int8_static p50 0.44 ms`."""
    return ", ".join(f"{name} p50 {figures['p50_ms']:.2f} ms" for name, figures in variants.items())


def _write_controls(fp32: Path, folder: Path) -> dict[str, Path]:
    """Write both controls to `folder`: control -> metadata file.

    They have files of their own, so that no two sessions share anything.
    """
    shutil.copy(fp32.with_suffix(".onnx"), folder)
    return {
        FP32_AGAIN: Path(shutil.copy(fp32, folder)),
        CONTROL_MODEL: control_model.write(folder),
    }


def append_each(lists: dict[str, list], values: dict) -> None:
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


def _variant_figures(end_to_end: np.ndarray, cold_starts: list[dict]) -> dict:
    """What latency.json has of a variant and not of a control.

    Parameters
    ----------
    end_to_end : float [processes, rounds, queries], in ms
    cold_starts : figures of `worker.cold_start`, one dictionary a process

    Returns
    -------
    Figures of `end_to_end_figures`, and medians of those of the cold starts.
    """
    figures = end_to_end_figures(end_to_end)
    for key in cold_starts[0]:
        figures[key] = float(np.median([costs[key] for costs in cold_starts]))
    return figures


def _medians_by_threads(alone: dict[int, dict[str, list]], same: dict[str, str]) -> dict:
    """P50 in ms of each variant at each thread count: thread count -> variant -> p50."""
    medians = {}
    for threads, times in alone.items():
        medians[str(threads)] = {
            name: float(np.median(times[first])) for name, first in same.items()
        }
    return medians
