"""Classify images with the model next to this file.

    python predict.py photograph.jpg folder/ ...     files and folders
    find /data -name '*.jpg' | python predict.py -   paths from standard input, one a line
    python predict.py --check                        replay the sample images and compare
    python predict.py --bench latency.json           time the model on this device

It needs onnxruntime, numpy and Pillow. run.json holds the image size, the normalisation, the class
names and the session options; without these options the model may be slow or wrong.
In Python: `classifier = Classifier(folder)`, then `classifier(path)` gives the probabilities.
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from beansweep.common.errors import Unreadable
from beansweep.data.preprocess import SUFFIXES, softmax, tensor

# Probabilities of the sample images may differ this much from the recorded ones.
_TOLERANCE = 0.01
# Queries of the model alone for each end-to-end query.
_QUERIES_PER_END_TO_END = 4


class Classifier:
    """A model, run as run.json says.

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
        self.labels = self.run["labels"]
        file = folder / self.run["model"]
        model = file.read_bytes()
        if hashlib.sha256(model).hexdigest() != self.run["sha256"]:
            raise Unreadable(f"{file} is not the model that was accepted: copy the bundle again")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        for key, value in self.run["session"].items():
            options.add_session_config_entry(key, value)
        self.session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, source: str | os.PathLike | IO[bytes]) -> np.ndarray:
        """Probabilities of one image's classes, in the order of `labels`: float32 [classes]."""
        feed = {self.session.get_inputs()[0].name: tensor(source, self.run["preprocessing"])}
        return softmax(self.session.run(None, feed)[0])[0]


def expected_probabilities(folder: Path) -> dict[str, list[float]]:
    """Recorded probabilities of the sample images: file name -> [classes]."""
    return json.loads((folder / "samples/expected.json").read_text(encoding="utf-8"))


def check(classifier: Classifier, folder: Path) -> str:
    """Replay the sample images, and compare with what was recorded where the model was accepted.

    Returns
    -------
    One clause that says how far this device agrees.

    Raises
    ------
    Unreadable
        A label differs, or a probability differs by more than rounding explains.
    """
    expected = expected_probabilities(folder)
    labels = classifier.labels
    largest = 0.0
    for name, recorded in expected.items():
        computed = classifier(folder / "samples" / name)
        difference = float(np.abs(computed - np.asarray(recorded, np.float32)).max())
        largest = max(largest, difference)
        same_label = computed.argmax() == np.argmax(recorded)
        # A difference that is not a number is not within the tolerance either.
        if not (same_label and difference <= _TOLERANCE):
            raise Unreadable(
                f"samples/{name}: this device computes {labels[computed.argmax()]} with "
                f"{computed.max():.3f}, but {labels[np.argmax(recorded)]} with "
                f"{max(recorded):.3f} was recorded: its integer kernels differ from those of "
                f"{classifier.run['instruction_set']}, so accept the model again on this device"
            )
    if largest == 0:
        return f"{len(expected)} sample images, all outputs identical"
    return f"{len(expected)} sample images, all labels equal, probabilities within {largest:.1e}"


def machine() -> dict:
    """What latency depends on besides the model: processor and its flags, versions, load."""
    import onnxruntime

    fields = _cpuinfo()
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return {
        "cpu": fields.get("model name") or _board() or platform.machine(),
        "architecture": platform.machine(),
        "flags": fields.get("flags") or fields.get("Features", ""),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "governor": governor.read_text().strip() if governor.exists() else "unknown",
    }


def _cpuinfo() -> dict[str, str]:
    """Fields of the first processor in /proc/cpuinfo; empty where there is no such file."""
    file = Path("/proc/cpuinfo")
    fields: dict[str, str] = {}
    if file.exists():
        for line in file.read_text().splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
    return fields


def _board() -> str:
    """The name of the board, as on a Raspberry Pi, or of the processor."""
    board = Path("/proc/device-tree/model")
    return board.read_text().strip("\0") if board.exists() else platform.processor()


def time_queries(folder: Path, threads: int, queries: int, warmup: int) -> dict:
    """Load the model and time queries on the sample images, in this process.

    The process is pinned to as many processors as it has threads.

    Returns
    -------
    In ms: `load_ms`; `first_query_ms`; `samples_ms` [queries], of the model alone; and
    `end_to_end_samples_ms`, from an image file's bytes to its label.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    start = time.perf_counter_ns()
    classifier = Classifier(folder, threads)
    load_ms = (time.perf_counter_ns() - start) / 1e6
    photographs, images = [], []
    for name in expected_probabilities(folder):
        photograph = (folder / "samples" / name).read_bytes()
        photographs.append(photograph)
        images.append(tensor(io.BytesIO(photograph), classifier.run["preprocessing"]))
    input_name = classifier.session.get_inputs()[0].name
    alone, end_to_end = [], []
    for query in range(max(warmup, 1) + queries):
        feed = {input_name: images[query % len(images)]}
        alone.append(_milliseconds(classifier.session.run, None, feed))
    for query in range(max(1, queries // _QUERIES_PER_END_TO_END)):
        file = io.BytesIO(photographs[query % len(photographs)])
        end_to_end.append(_milliseconds(classifier, file))
    return {
        "load_ms": load_ms,
        "first_query_ms": alone[0],
        "samples_ms": alone[-queries:],
        "end_to_end_samples_ms": end_to_end,
    }


def _milliseconds(function: Callable, *arguments) -> float:
    """Call a function, and return the milliseconds that it took."""
    start = time.perf_counter_ns()
    function(*arguments)
    return (time.perf_counter_ns() - start) / 1e6


def bench(folder: Path, threads: int) -> dict:
    """Check the model, and time it in as many fresh processes as where it was accepted.

    Returns
    -------
    What the report reads as device results; see `bench.device_results` in the configuration.
    """
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    settings = run["bench"]
    # Before the measurement, so that the load average is not that of the bench itself.
    described = machine()
    try:
        message, agrees = check(Classifier(folder, threads), folder), True
    except Unreadable as error:
        message, agrees = str(error), False
    processes = []
    for number in range(1, settings["processes"] + 1):
        _say(f"timing, process {number} of {settings['processes']}")
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            arguments = (folder, threads, settings["queries"], settings["warmup"])
            processes.append(pool.apply(time_queries, arguments))
    result = {
        "candidate": run["candidate"],
        "machine": described,
        "settings": {**settings, "threads": threads},
        "check": {"agrees": agrees, "said": message},
    }
    for key in processes[0]:
        result[key] = [times[key] for times in processes]
    return result


def sources(arguments: list[str]) -> Iterator[str]:
    """Paths of images: files as given, all images in a folder, `-` for lines of standard input."""
    for argument in arguments:
        if argument == "-":
            for line in sys.stdin:
                yield line.rstrip("\n")
        elif os.path.isdir(argument):
            for path in sorted(Path(argument).rglob("*"), key=str):
                hidden = any(part.startswith(".") for part in path.relative_to(argument).parts)
                if path.suffix.lower() in SUFFIXES and not hidden:
                    yield str(path)
        else:
            yield argument


def classify(classifier: Classifier, arguments: list[str], as_json: bool) -> int:
    """Print a line for each image, as CSV or JSON.

    Returns
    -------
    1 where an image could not be read, else 0. Standard error names each such image.
    """
    failed = 0
    writer = csv.writer(sys.stdout, lineterminator="\n")
    if not as_json:
        writer.writerow(["path", "predicted", *(f"p_{label}" for label in classifier.labels)])
    for source in sources(arguments):
        try:
            row = describe(classifier, source)
        except Unreadable as error:
            _say(str(error))
            failed = 1
            continue
        if as_json:
            print(json.dumps(row, ensure_ascii=False))
        else:
            writer.writerow(row.values())
        sys.stdout.flush()
    return failed


def describe(classifier: Classifier, source: str) -> dict:
    """One image's path, predicted class and probability of each class."""
    probabilities = classifier(source)
    row = {"path": source, "predicted": classifier.labels[probabilities.argmax()]}
    for label, probability in zip(classifier.labels, probabilities, strict=True):
        # Nine digits give every float32 back exactly.
        row[f"p_{label}"] = float(f"{probability:.9g}")
    return row


def _say(message: str) -> None:
    """Print one line on standard error."""
    print(f"predict: {message}", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    """The arguments of the command line."""
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
    return parser.parse_args()


def main() -> int:
    """Do what the command line says; 1 where the check fails or an image cannot be read."""
    args = _arguments()
    folder = Path(__file__).resolve().parent
    try:
        classifier = Classifier(folder, args.threads)
        if args.check:
            print(check(classifier, folder))
        if args.bench:
            result = bench(folder, args.threads)
            args.bench.write_text(json.dumps(result) + "\n", encoding="utf-8")
            print(
                f"p50 {np.median(result['samples_ms']):.3f} ms, {args.threads} thread(s), "
                f"{result['machine']['cpu']}: {args.bench}; {result['check']['said']}"
            )
    except (Unreadable, OSError) as error:
        _say(str(error))
        return 1
    return classify(classifier, args.images, args.json) if args.images else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:
        # The reader of the lines has closed the pipe (`| head`); Python would complain at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
