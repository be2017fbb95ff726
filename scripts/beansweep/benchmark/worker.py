"""What a fresh process does in a bench: load models and time their queries.

It imports no more than a device that runs a model would, because memory is measured here too.
"""

import io
import os
import platform
import time
from pathlib import Path

import numpy as np
import onnxruntime
import psutil

from beansweep.data import preprocess
from beansweep.models import onnx_session

AGAIN, CONTROL_MODEL = CONTROLS = ("fp32_again", "control_model")
CONTROL_MODEL_SIZE = (96, 96)
# So many queries of the model alone for each from end-to-end latency.
_ALONE_PER_WHOLE = 4


def _pin(threads: int) -> None:
    """Keep this process on as many processors as it has threads, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def time_all(
    metadata_files: dict[str, Path],
    photographs: list[bytes],
    settings: dict,
    threads: int,
    process: int,
) -> tuple[dict[str, list], dict[str, list]]:
    """In this process, time every model, alone and from an image's bytes to its label.

    Returns
    -------
    For both, variant -> rounds -> milliseconds of each query; the second has no controls.
    """
    _pin(threads)
    rng = np.random.default_rng([settings["seed"], process])
    names = list(metadata_files)
    loaded = {
        name: onnx_session.load(metadata_files[name], threads=threads)
        for name in rng.permutation(names)
    }
    preprocessing = loaded["fp32"][1]["preprocessing"]
    tensors = [preprocess.tensor(io.BytesIO(each), preprocessing) for each in photographs]
    batches = [
        np.concatenate(
            [tensors[(first + each) % len(tensors)] for each in range(settings["batch_size"])]
        )
        for first in range(len(tensors))
    ]
    fixed = [rng.normal(size=(1, 3, *CONTROL_MODEL_SIZE)).astype(np.float32)]
    alone = {name: [] for name in names}
    whole = {name: [] for name in names if name not in CONTROLS}
    for round_ in range(-1, settings["rounds"]):
        for name in rng.permutation(names):
            session, feed = loaded[name][0], loaded[name][0].get_inputs()[0].name
            feeds = fixed if name == CONTROL_MODEL else batches
            first = max(round_, 0) * settings["queries"]
            times = []
            for query in range(settings["queries"] if round_ >= 0 else settings["warmup"]):
                # Every variant sees the same images in the same round.
                batch = feeds[(first + query) % len(feeds)]
                start = time.perf_counter_ns()
                session.run(None, {feed: batch})
                times.append((time.perf_counter_ns() - start) / 1e6)
            if round_ < 0:
                continue
            alone[name].append(times)
            if name in whole:
                whole[name].append(
                    [
                        _end_to_end(
                            session, photographs[(first + query) % len(photographs)], preprocessing
                        )
                        for query in range(max(1, settings["queries"] // _ALONE_PER_WHOLE))
                    ]
                )
    return alone, whole


def _end_to_end(
    session: onnxruntime.InferenceSession, photograph: bytes, preprocessing: dict
) -> float:
    """Milliseconds from an image file's bytes to its label: decode, resize, normalise, infer."""
    start = time.perf_counter_ns()
    onnx_session.logits(session, preprocess.tensor(io.BytesIO(photograph), preprocessing)).argmax()
    return (time.perf_counter_ns() - start) / 1e6


def cold(metadata: Path, photograph: bytes, settings: dict, threads: int) -> dict:
    """In this process, what one model costs from nothing: load, first query, memory."""
    _pin(threads)
    process = psutil.Process()
    before = process.memory_info().rss
    start = time.perf_counter()
    session, contents = onnx_session.load(metadata, threads=threads)
    loaded = time.perf_counter()
    image = preprocess.tensor(io.BytesIO(photograph), contents["preprocessing"])
    batch = np.repeat(image, settings["batch_size"], axis=0)
    ready = time.perf_counter()
    onnx_session.logits(session, batch)
    first = time.perf_counter()
    for _ in range(10):
        onnx_session.logits(session, batch)
    return {
        "load_ms": 1e3 * (loaded - start),
        "first_query_ms": 1e3 * (first - ready),
        "peak_memory_mb": _peak_memory() / 1e6,
        "model_memory_mb": (_peak_memory() - before) / 1e6,
    }


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
