"""What a fresh process does in a bench: load models and time their queries.

It imports no more than a device that runs a model would, because its memory is measured too.
"""

import io
import json
import platform
import time
from pathlib import Path

import numpy as np
import onnxruntime
import psutil

from beansweep.benchmark.controls import CONTROL_MODEL, CONTROL_MODEL_SIZE, CONTROLS
from beansweep.common import pinning
from beansweep.data import preprocess
from beansweep.models import onnx_session

# Queries of the model alone for each end-to-end query.
_QUERIES_PER_END_TO_END = 4
# A model so many times slower than the fastest cannot win, and gets a tenth of the queries.
_TOO_SLOW = 3
# Warm-up queries that it takes to judge that.
_ENOUGH_TO_JUDGE = 10
# Rounds end when so many are done, and the ratio of each model to the fastest has a standard error
# of at most this share.
_FEWEST_ROUNDS = 4
_NARROW = 0.01
# Queries after the first one, before the peak of memory is read.
_QUERIES_BEFORE_PEAK = 10


def time_all(
    metadata_files: dict[str, Path],
    photographs: list[bytes],
    settings: dict,
    threads: int,
    process: int,
    plan: dict | None,
) -> tuple[dict[str, list], dict[str, list]]:
    """Time the queries of every model in this process, interleaved in random order.

    Without a plan, models that are too slow to win get fewer queries, and rounds end early where
    the ratios of the others are narrow. This is decided within one process, so it does not touch
    the intervals, which are over processes.

    Parameters
    ----------
    metadata_files : model or control -> metadata file
    photographs : image files' bytes, which each model sees as its own preprocessing gives them
    settings : batch_size, rounds, queries, warmup and seed, as in config.yaml
    threads : intra-op threads, and processors that this process is pinned to
    process : number of this process, from 0; it is part of the seed
    plan : as `plan_of` gives it: the rounds and queries of an earlier process

    Returns
    -------
    Two dictionaries, name -> [rounds][queries] in ms: of all models alone, and of those that are
    no control from an image file's bytes to its label.
    """
    pinning.pin(threads)
    rng = np.random.default_rng([settings["seed"], process])
    names = list(metadata_files)
    sessions, metadata = {}, {}
    for name in rng.permutation(names):
        sessions[name], metadata[name] = onnx_session.load(metadata_files[name], threads=threads)
    batches = {CONTROL_MODEL: [rng.normal(size=(1, 3, *CONTROL_MODEL_SIZE)).astype(np.float32)]}
    batches |= _batches_of_each(metadata, photographs, settings["batch_size"])
    warm = {}
    for name in rng.permutation(names):
        warm[name] = _time_alone(sessions[name], batches[name], 0, settings["warmup"])
    queries = plan["queries"] if plan else _queries_of_each(warm, settings["queries"])
    alone: dict[str, list] = {name: [] for name in names}
    end_to_end: dict[str, list] = {name: [] for name in names if name not in CONTROLS}
    for round_ in range(plan["rounds"] if plan else settings["rounds"]):
        # Every model sees the same images in the same round.
        first = round_ * settings["queries"]
        for name in rng.permutation(names):
            session, count = sessions[name], queries[name]
            alone[name].append(_time_alone(session, batches[name], first, count))
            if name in end_to_end:
                preprocessing = metadata[name]["preprocessing"]
                count = max(1, count // _QUERIES_PER_END_TO_END)
                times = _time_end_to_end(session, photographs, preprocessing, first, count)
                end_to_end[name].append(times)
        if not plan and _are_narrow(alone):
            break
    return alone, end_to_end


def plan_of(alone: dict[str, list]) -> dict:
    """The plan that other processes take over from one: `rounds`, and `queries` of each model.

    Parameters
    ----------
    alone : model or control -> [rounds][queries] in ms
    """
    rounds = len(next(iter(alone.values())))
    return {"rounds": rounds, "queries": {name: len(times[0]) for name, times in alone.items()}}


def cold_start(metadata_file: Path, photograph: bytes, settings: dict, threads: int) -> dict:
    """What one model costs in this fresh process: load, first query, memory.

    Returns
    -------
    `load_ms` and `first_query_ms`; `peak_memory_mb` of the whole process; `model_memory_mb`, by
    how much that is more than before the model was loaded. Megabytes are of 10^6 bytes.
    """
    pinning.pin(threads)
    memory_before = psutil.Process().memory_info().rss
    start = time.perf_counter()
    session, metadata = onnx_session.load(metadata_file, threads=threads)
    loaded = time.perf_counter()
    image = preprocess.tensor(io.BytesIO(photograph), metadata["preprocessing"])
    batch = np.repeat(image, settings["batch_size"], axis=0)
    ready = time.perf_counter()
    onnx_session.logits(session, batch)
    answered = time.perf_counter()
    for _ in range(_QUERIES_BEFORE_PEAK):
        onnx_session.logits(session, batch)
    return {
        "load_ms": 1e3 * (loaded - start),
        "first_query_ms": 1e3 * (answered - ready),
        "peak_memory_mb": _peak_memory() / 1e6,
        "model_memory_mb": (_peak_memory() - memory_before) / 1e6,
    }


def _queries_of_each(warm: dict[str, list[float]], queries: int) -> dict[str, int]:
    """The queries in a visit of each model: fewer of those that are too slow to win.

    Parameters
    ----------
    warm : model or control -> ms of each query of the warm-up
    queries : in a visit, as configured
    """
    medians = {}
    for name, times in warm.items():
        # The others are compared with FP32, and the controls with other benches.
        if name != "fp32" and name not in CONTROLS and len(times) >= _ENOUGH_TO_JUDGE:
            medians[name] = np.median(times)
    counts = dict.fromkeys(warm, queries)
    for name, median in medians.items():
        if median > _TOO_SLOW * min(medians.values()):
            counts[name] = max(1, queries // 10)
    return counts


def _are_narrow(alone: dict[str, list]) -> bool:
    """Whether the ratios of all models to the fastest vary little enough from round to round.

    Controls do not count, nor do models that are too slow to win.

    Parameters
    ----------
    alone : model or control -> [rounds][queries] in ms
    """
    most = max(len(times[0]) for times in alone.values())
    logarithms = []
    for name, times in alone.items():
        if name not in CONTROLS and len(times[0]) == most:
            logarithms.append(np.log(np.median(times, axis=1)))
    rounds = len(logarithms[0])
    if rounds < _FEWEST_ROUNDS:
        return False
    fastest = min(logarithms, key=np.median)
    errors = np.std(np.array(logarithms) - fastest, axis=1, ddof=1) / np.sqrt(rounds)
    return bool(errors.max() <= _NARROW)


def _batches_of_each(
    metadata: dict[str, dict], photographs: list[bytes], batch_size: int
) -> dict[str, list[np.ndarray]]:
    """The batches of each model but the control model; those with the same inputs share them."""
    made: dict[str, list[np.ndarray]] = {}
    batches = {}
    for name, contents in metadata.items():
        if name == CONTROL_MODEL:
            continue
        key = json.dumps(contents["preprocessing"], sort_keys=True)
        if key not in made:
            made[key] = _batches(photographs, contents["preprocessing"], batch_size)
        batches[name] = made[key]
    return batches


def _batches(photographs: list[bytes], preprocessing: dict, batch_size: int) -> list[np.ndarray]:
    """Batches that start at each photograph in turn: float32 [batch_size, 3, size, size] each."""
    tensors = []
    for photograph in photographs:
        tensors.append(preprocess.tensor(io.BytesIO(photograph), preprocessing))
    images = np.concatenate(tensors)
    batches = []
    for first in range(len(images)):
        batches.append(images.take(range(first, first + batch_size), axis=0, mode="wrap"))
    return batches


def _time_alone(
    session: onnxruntime.InferenceSession, batches: list[np.ndarray], first: int, count: int
) -> list[float]:
    """Milliseconds of each of `count` queries of the model alone, from the batch `first` on."""
    input_name = session.get_inputs()[0].name
    times = []
    for query in range(first, first + count):
        batch = batches[query % len(batches)]
        start = time.perf_counter_ns()
        session.run(None, {input_name: batch})
        times.append((time.perf_counter_ns() - start) / 1e6)
    return times


def _time_end_to_end(
    session: onnxruntime.InferenceSession,
    photographs: list[bytes],
    preprocessing: dict,
    first: int,
    count: int,
) -> list[float]:
    """Milliseconds from an image file's bytes to its label: decode, resize, normalise, infer."""
    times = []
    for query in range(first, first + count):
        photograph = photographs[query % len(photographs)]
        start = time.perf_counter_ns()
        image = preprocess.tensor(io.BytesIO(photograph), preprocessing)
        onnx_session.logits(session, image).argmax()
        times.append((time.perf_counter_ns() - start) / 1e6)
    return times


def _peak_memory() -> int:
    """Largest resident size of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage: on Linux its maximum starts from the parent's.
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return 1024 * int(line.split()[1])
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else 1024 * peak
