"""Classify images with the model beside this file.

    python predict.py photograph.jpg folder/ ...     files and folders
    find /data -name '*.jpg' | python predict.py -   paths from standard input, one a line, as they come
    python predict.py --check                        replay the sample images and compare
    python predict.py --bench latency.json           time the model on this device

Needs onnxruntime, numpy and Pillow. run.json beside it says how the model is run: the image size
and normalisation, the class names, and the session options, without which it may be slow or wrong.
In Python: `classifier = Classifier(folder)`, then `classifier(path)` gives the classes' probabilities.
"""

import argparse
import csv
import hashlib
import io
import json
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from beansweep.common.errors import Unreadable
from beansweep.data.preprocess import SUFFIXES, softmax, tensor

# Probabilities of the sample images may differ this much from the recorded ones.
_TOLERANCE = 0.01
# So many queries of the model alone for each from end-to-end latency.
_ALONE_PER_WHOLE = 4


class Classifier:
    """A model as its run.json says it is run.

    Parameters
    ----------
    folder : with run.json and the model that it names
    threads : intra-op threads

    Raises
    ------
    Unreadable
        The model's bytes are not those that run.json was written for.
    """

    def __init__(self, folder: Path, threads: int = 1):
        import onnxruntime

        self.run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        model = (folder / self.run["model"]).read_bytes()
        if hashlib.sha256(model).hexdigest() != self.run["sha256"]:
            raise Unreadable(
                f"{folder / self.run['model']} is not the model that was accepted: copy the bundle again"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        for key, value in self.run["session"].items():
            options.add_session_config_entry(key, value)
        self.session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        self.labels = self.run["labels"]

    def __call__(self, source: str | os.PathLike | IO[bytes]) -> np.ndarray:
        """Probabilities of one image's classes, in the order of `labels`: float32 [classes]."""
        feed = {self.session.get_inputs()[0].name: tensor(source, self.run["preprocessing"])}
        return softmax(self.session.run(None, feed)[0])[0]


def check(classifier: Classifier, folder: Path) -> str:
    """Replay the sample images, and compare with what was recorded where the model was accepted.

    Raises
    ------
    Unreadable
        A label differs, or a probability by more than rounding explains.
    """
    expected = json.loads((folder / "samples/expected.json").read_text(encoding="utf-8"))
    largest = 0.0
    for name, probabilities in expected.items():
        found = classifier(folder / "samples" / name)
        difference = float(np.abs(found - np.asarray(probabilities, np.float32)).max())
        largest = max(largest, difference)
        if found.argmax() != np.argmax(probabilities) or not difference <= _TOLERANCE:
            raise Unreadable(
                f"samples/{name}: this device computes {classifier.labels[found.argmax()]} with "
                f"{found.max():.3f}, recorded was {classifier.labels[np.argmax(probabilities)]} with "
                f"{max(probabilities):.3f}: its integer kernels are others than those on "
                f"{classifier.run['instruction_set']}, so accept the model anew here"
            )
    return f"{len(expected)} sample images, " + (
        "all outputs identical"
        if largest == 0
        else f"all labels equal, probabilities within {largest:.1e}"
    )


def machine() -> dict:
    """What times depend on beside the model: processor and its flags, versions, load."""
    import onnxruntime

    cpuinfo, board = Path("/proc/cpuinfo"), Path("/proc/device-tree/model")
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    fields = {}
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else []:
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    named = fields.get("model name") or (
        board.read_text().strip("\0") if board.exists() else platform.processor()
    )
    return {
        "cpu": named or platform.machine(),
        "architecture": platform.machine(),
        "flags": fields.get("flags") or fields.get("Features", ""),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "governor": governor.read_text().strip() if governor.exists() else "unknown",
    }


def time_queries(folder: Path, threads: int, queries: int, warmup: int) -> dict:
    """In this process, pinned to as many processors as threads, load the model and time queries on the sample images.

    Returns
    -------
    Milliseconds: `load_ms`, `first_query_ms`, `samples_ms` of the model alone, and
    `end_to_end_samples_ms` from an image's bytes to its label.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])

    def milliseconds(function, *arguments) -> float:
        start = time.perf_counter_ns()
        function(*arguments)
        return (time.perf_counter_ns() - start) / 1e6

    start = time.perf_counter_ns()
    classifier = Classifier(folder, threads)
    load = (time.perf_counter_ns() - start) / 1e6
    photographs = [
        (folder / "samples" / name).read_bytes()
        for name in json.loads((folder / "samples/expected.json").read_text(encoding="utf-8"))
    ]
    name = classifier.session.get_inputs()[0].name
    feeds = [
        {name: tensor(io.BytesIO(each), classifier.run["preprocessing"])} for each in photographs
    ]
    times = [
        milliseconds(classifier.session.run, None, feeds[query % len(feeds)])
        for query in range(max(warmup, 1) + queries)
    ]
    whole = [
        milliseconds(classifier, io.BytesIO(photographs[query % len(photographs)]))
        for query in range(max(1, queries // _ALONE_PER_WHOLE))
    ]
    return {
        "load_ms": load,
        "first_query_ms": times[0],
        "samples_ms": times[-queries:],
        "end_to_end_samples_ms": whole,
    }


def bench(folder: Path, threads: int) -> dict:
    """Time the model in fresh processes, as often as where it was accepted; what the report reads as device results."""
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    settings = run["bench"]
    # Before the measurement: what it finds, not the load that it makes.
    found = machine()
    try:
        said, agrees = check(Classifier(folder, threads), folder), True
    except Unreadable as error:
        said, agrees = str(error), False
    processes = []
    for number in range(settings["processes"]):
        print(
            f"predict: timing, process {number + 1} of {settings['processes']}",
            file=sys.stderr,
            flush=True,
        )
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            processes.append(
                pool.apply(time_queries, (folder, threads, settings["queries"], settings["warmup"]))
            )
    return {
        "candidate": run["candidate"],
        "machine": found,
        "settings": {**settings, "threads": threads},
        "check": {"agrees": agrees, "said": said},
        **{key: [each[key] for each in processes] for key in processes[0]},
    }


def sources(arguments: list[str]) -> Iterator[str]:
    """Paths of images: files as given, folders searched through, `-` for lines of standard input."""
    for argument in arguments:
        if argument == "-":
            yield from (line.rstrip("\n") for line in sys.stdin)
        elif os.path.isdir(argument):
            yield from sorted(
                str(path) for path in Path(argument).rglob("*") if path.suffix.lower() in SUFFIXES
            )
        else:
            yield argument


def main() -> int:
    """Print a line an image; 1 where the check fails or an image cannot be read, which is said on standard error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "images", nargs="*", help="files, folders, or - for paths from standard input"
    )
    parser.add_argument("--json", action="store_true", help="JSON lines instead of CSV")
    parser.add_argument("--check", action="store_true", help="replay the sample images and compare")
    parser.add_argument(
        "--bench", type=Path, metavar="FILE", help="time the model, and write JSON for the report"
    )
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    folder = Path(__file__).resolve().parent
    try:
        classifier = Classifier(folder, args.threads)
        if args.check:
            print(check(classifier, folder))
        if args.bench:
            found = bench(folder, args.threads)
            args.bench.write_text(json.dumps(found) + "\n", encoding="utf-8")
            print(
                f"p50 {np.median(found['samples_ms']):.3f} ms, {args.threads} thread(s), {found['machine']['cpu']}: "
                f"{args.bench}; {found['check']['said']}"
            )
    except (Unreadable, OSError) as error:
        print(f"predict: {error}", file=sys.stderr)
        return 1
    failed, writer = 0, csv.writer(sys.stdout, lineterminator="\n")
    if args.images and not args.json:
        writer.writerow(["path", "predicted", *(f"p_{label}" for label in classifier.labels)])
    for source in sources(args.images):
        try:
            probabilities = classifier(source)
        except Unreadable as error:
            print(f"predict: {error}", file=sys.stderr, flush=True)
            failed = 1
            continue
        row = {"path": source, "predicted": classifier.labels[probabilities.argmax()]}
        row |= {
            f"p_{label}": float(f"{value:.9g}")
            for label, value in zip(classifier.labels, probabilities, strict=True)
        }
        if args.json:
            print(json.dumps(row, ensure_ascii=False))
        else:
            writer.writerow(row.values())
        sys.stdout.flush()
    return failed


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:
        # Whoever read the lines has had enough of them (`| head`); Python would say so at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
