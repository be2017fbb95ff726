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

from beansweep.common import pinning
from beansweep.data import preprocess
from beansweep.models import onnx_session

# FP32 a second time, under another name; and a fixed small network (see control_model.py).
FP32_AGAIN, CONTROL_MODEL = CONTROLS = ("fp32_again", "control_model")
# Height and width of the control model's input, in pixels.
CONTROL_MODEL_SIZE = (96, 96)
# Queries of the model alone for each end-to-end query.
_QUERIES_PER_END_TO_END = 4
# Queries after the first one, before the peak of memory is read.
_QUERIES_BEFORE_PEAK = 10


def time_all(
    metadata_files: dict[str, Path],
    photographs: list[bytes],
    settings: dict,
    threads: int,
    process: int,
) -> tuple[dict[str, list], dict[str, list]]:
    """Time the queries of every model in this process, interleaved in random order.

    Parameters
    ----------
    metadata_files : model or control -> metadata file
    photographs : image files' bytes, which each model sees as its own preprocessing gives them
    settings : batch_size, rounds, queries, warmup and seed, as in config.yaml
    threads : intra-op threads, and processors that this process is pinned to
    process : number of this process, from 0; it is part of the seed

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
    for name in rng.permutation(names):
        _time_alone(sessions[name], batches[name], 0, settings["warmup"])
    alone: dict[str, list] = {name: [] for name in names}
    end_to_end: dict[str, list] = {name: [] for name in names if name not in CONTROLS}
    end_to_end_queries = max(1, settings["queries"] // _QUERIES_PER_END_TO_END)
    for round_ in range(settings["rounds"]):
        # Every model sees the same images in the same round.
        first = round_ * settings["queries"]
        for name in rng.permutation(names):
            session = sessions[name]
            alone[name].append(_time_alone(session, batches[name], first, settings["queries"]))
            if name in end_to_end:
                preprocessing = metadata[name]["preprocessing"]
                times = _time_end_to_end(
                    session, photographs, preprocessing, first, end_to_end_queries
                )
                end_to_end[name].append(times)
    return alone, end_to_end


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
