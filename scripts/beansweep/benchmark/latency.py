"""Timing of models beside each other: interleaved, pinned, in fresh processes.

In the spirit of MLPerf Inference's single-stream scenario (Reddi et al. 2020): a query is sent
when the one before it is done, and quantiles are over all queries, none left out.
"""

import math
import multiprocessing
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from beansweep.analysis import intervals
from beansweep.benchmark import control_model, worker
from beansweep.benchmark.worker import AGAIN, CONTROL_MODEL, CONTROLS

# Of every interval in the files that a bench writes.
CONFIDENCE = 0.95
_COLD_STARTS = 3


def fresh(function, *arguments):
    """Call a function in a process of its own and return its result.

    Raises
    ------
    BrokenExecutor
        That process was killed. (A multiprocessing.Pool would wait for it forever.)
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def measure(
    metadata_files: dict[str, Path], photographs: list[bytes], settings: dict, watch: Callable
) -> dict:
    """Time models beside each other.

    Two controls are timed among them: `fp32_again`, the same file as fp32, whose ratio to it shows
    what the machine's noise alone makes of a ratio; and the control model, the same in every bench.

    Parameters
    ----------
    metadata_files : variant -> metadata file; `fp32` is among them
    photographs : image files' bytes, from the test images
    settings : threads, batch_size, processes, rounds, queries, warmup and seed, as in config.yaml
    watch : wraps the iteration over processes, to show progress

    Returns
    -------
    `variants` and `controls`: name -> the figures of `summarise`, and for variants those from
    end-to-end latency (`end_to_end_p50_ms`, `end_to_end_p90_ms`), megabytes, load and memory (medians
    over processes), and every sample. `by_threads`: threads -> variant -> p50, where several were
    asked for; the others are of the first.
    """
    with tempfile.TemporaryDirectory() as folder:
        # The controls go through files of their own, so that nothing is shared between sessions.
        again = shutil.copy(metadata_files["fp32"], folder)
        shutil.copy(metadata_files["fp32"].with_suffix(".onnx"), folder)
        timed = {
            **metadata_files,
            AGAIN: Path(again),
            CONTROL_MODEL: control_model.write(Path(folder)),
        }
        runs = [
            (threads, process)
            for threads in settings["threads"]
            for process in range(settings["processes"])
        ]
        alone = {threads: {name: [] for name in timed} for threads in settings["threads"]}
        whole = {name: [] for name in metadata_files}
        cold = {name: [] for name in metadata_files}
        for threads, process in watch(runs):
            found, end_to_end = fresh(
                worker.time_all, timed, photographs, settings, threads, process
            )
            for name, rounds in found.items():
                alone[threads][name].append(rounds)
            if threads != settings["threads"][0]:
                continue
            for name, rounds in end_to_end.items():
                whole[name].append(rounds)
                if process < _COLD_STARTS:
                    cold[name].append(
                        fresh(worker.cold, timed[name], photographs[0], settings, threads)
                    )
    first = {name: np.asarray(samples) for name, samples in alone[settings["threads"][0]].items()}
    result = {
        name: summarise(samples, first["fp32"], settings["batch_size"])
        for name, samples in first.items()
    }
    for name, metadata in metadata_files.items():
        samples = np.asarray(whole[name])
        result[name] |= {
            **{f"end_to_end_p{q}_ms": float(np.percentile(samples, q)) for q in (50, 90)},
            "megabytes": metadata.with_suffix(".onnx").stat().st_size / 1e6,
            **{key: float(np.median([each[key] for each in cold[name]])) for key in cold[name][0]},
            "samples_ms": first[name].round(4).tolist(),
            "end_to_end_samples_ms": samples.round(4).tolist(),
        }
    return {
        "variants": {name: result[name] for name in metadata_files},
        "controls": {name: result[name] for name in CONTROLS},
        "by_threads": {
            str(threads): {name: float(np.median(samples[name])) for name in metadata_files}
            for threads, samples in alone.items()
        },
    }


def summarise(samples: np.ndarray, reference: np.ndarray, batch_size: int) -> dict:
    """Quantiles of all queries, in ms, none left out, and how sure they are.

    Parameters
    ----------
    samples, reference : [processes, rounds, queries] ms, of a model and of FP32 beside it

    Returns
    -------
    p50, p90, p95, p99 and mean; `p50_low_ms` and `p50_high_ms`; `speedup`, the reference's p50 by
    this one, with `speedup_low` and `speedup_high`. The intervals are Student's over processes, of
    logarithms: queries of one process share its memory's layout and its neighbours on the
    machine, so they are not independent. None from one process alone.
    """
    medians, others = (np.log(np.median(each, axis=(1, 2))) for each in (samples, reference))
    _, *p50 = intervals.mean_interval(medians, CONFIDENCE)
    ratio, *ratios = intervals.mean_interval(others - medians, CONFIDENCE)
    p50, ratios = (
        [math.exp(end) if math.isfinite(end) else None for end in ends] for ends in (p50, ratios)
    )
    return {
        **{f"p{q}_ms": float(np.percentile(samples, q)) for q in (50, 90, 95, 99)},
        "p50_low_ms": p50[0],
        "p50_high_ms": p50[1],
        "speedup": math.exp(ratio),
        "speedup_low": ratios[0],
        "speedup_high": ratios[1],
        "mean_ms": float(samples.mean()),
        "queries": samples.size,
        "images_per_second": float(1e3 * batch_size / samples.mean()),
    }
