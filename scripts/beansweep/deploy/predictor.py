"""Classify images with the model next to this file.

    python predict.py photograph.jpg folder/ ...     files and folders
    find /data -name '*.jpg' | python predict.py -   paths from standard input, one a line
    python predict.py --check                        replay the sample images and compare
    python predict.py --bench latency.json           time the model on this device

It needs onnxruntime, numpy and Pillow. run.json holds the image size, the normalisation, the class
names, the thresholds and the session options; without these options the model may be slow or wrong.
In Python: `classifier = Classifier(folder)`, then `classifier(path)` gives the probabilities.
"""

import argparse
import codecs
import csv
import hashlib
import io
import itertools
import json
import multiprocessing
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

import numpy as np

from beansweep.common.errors import Unreadable, UserError
from beansweep.common.pinning import cpus, governor, pin, quota
from beansweep.data.preprocess import SUFFIXES, softmax, tensor

# In the check, at most this share of the sample images may get another answer than recorded: one
# that lies at a threshold may get another by rounding alone.
_MOST_CHANGED = 0.1
# Rounding rarely moves a probability by more. Other kernels move those of most sample images so.
_TOLERANCE = 0.01
_MOST_MOVED = 0.5
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
    UserError
        The model's bytes are not those that run.json was written for, a package is too old, or this
        onnxruntime cannot open the model.
    """

    def __init__(self, folder: Path, threads: int = 1):
        import onnxruntime

        self.run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        self.labels = self.run["labels"]
        self.operating_point = self.run.get("operating_point")
        _check_versions(self.run)
        file = folder / self.run["model"]
        model = file.read_bytes()
        if hashlib.sha256(model).hexdigest() != self.run["sha256"]:
            raise Unreadable(f"{file} is not the model that was accepted: copy the bundle again")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        for key, value in self.run["session"].items():
            options.add_session_config_entry(key, value)
        try:
            self.session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # It has exceptions of many kinds.
            raise UserError(
                f"onnxruntime {onnxruntime.__version__} cannot open {file} "
                f"({' '.join(str(error).split())}): install onnxruntime {self.run['onnxruntime']}, "
                "which the model was accepted with"
            ) from error

    def __call__(self, source: str | os.PathLike | IO[bytes]) -> np.ndarray:
        """Probabilities of one image's classes, in the order of `labels`: float32 [classes]."""
        feed = {self.session.get_inputs()[0].name: tensor(source, self.run["preprocessing"])}
        return softmax(self.session.run(None, feed)[0])[0]

    def defect_score(self, probabilities: np.ndarray) -> float:
        """Sum of the probabilities of the defect classes, of all that the model gives.

        It is added class by class in double precision, so that every machine gets the same sum.
        """
        score = 0.0
        for label, probability in zip(self.labels, probabilities):  # noqa: B905 (Python 3.8)
            if label in self.operating_point["defect_classes"]:
                score += float(probability)
        return score

    def decision(self, score: float) -> str:
        """What to do with an image of this defect score: `ship`, `by hand` or `reject`."""
        if score < self.operating_point["ship_below"]:
            return "ship"
        # Written so that a score that is not a number is rejected.
        return "by hand" if score < self.operating_point["reject_from"] else "reject"

    def answer(self, probabilities: np.ndarray) -> str:
        """The decision, or the likeliest class where run.json has no operating point."""
        if self.operating_point:
            return self.decision(self.defect_score(probabilities))
        return self.labels[probabilities.argmax()]


def _check_versions(run: dict) -> None:
    """Refuse Python and packages that are older than this program or its model needs."""
    import onnxruntime
    import PIL

    found = {
        "Python": platform.python_version(),
        "Pillow": PIL.__version__,
        "onnxruntime": onnxruntime.__version__,
    }
    for name, oldest in run["oldest"].items():
        if _numbers(found[name]) < _numbers(oldest):
            raise UserError(
                f"{name} {found[name]} is too old here: install {name} {oldest} or later"
            )


def _numbers(version: str) -> list[int]:
    """The first two numbers of a version."""
    return [int(number) for number in re.findall(r"[0-9]+", version)[:2]]


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
        More sample images get another decision (or label), or other probabilities, than rounding
        explains.
    """
    expected = expected_probabilities(folder)
    changed, moved, identical, largest = [], 0, 0, 0.0
    for name, values in expected.items():
        recorded = np.asarray(values, np.float32)
        computed = classifier(folder / "samples" / name)
        difference = float(np.abs(computed - recorded).max())
        # A difference that is not a number is not within the tolerance either.
        is_number = np.isfinite(difference)
        if not is_number or classifier.answer(computed) != classifier.answer(recorded):
            changed.append(_change(classifier, name, computed, recorded))
        moved += not difference <= _TOLERANCE
        identical += difference == 0
        largest = max(largest, difference)
    images = len(expected)
    if identical == images:
        return f"{images} sample images, all outputs identical"
    what = "decision" if classifier.operating_point else "label"
    if len(changed) > _MOST_CHANGED * images or moved > _MOST_MOVED * images:
        raise Unreadable(
            f"{len(changed)} of {images} sample images get another {what} here than recorded, and "
            f"{moved} differ by more than {_TOLERANCE} in a probability"
            + (f" ({changed[0]})" if changed else "")
            + f": its integer kernels differ from those of {classifier.run['instruction_set']}, so "
            "accept the model again on this device"
        )
    return (
        f"{images - len(changed)} of {images} sample images get the recorded {what}, {identical} "
        f"with identical outputs, probabilities within {largest:.1e}"
    )


def _change(classifier: Classifier, name: str, computed: np.ndarray, recorded: np.ndarray) -> str:
    """How the answer for a sample image differs from the recorded one, in one clause."""
    clauses = []
    for probabilities in (computed, recorded):
        if classifier.operating_point:
            value = f"defect score {classifier.defect_score(probabilities):.3f}"
        else:
            value = f"{probabilities.max():.3f}"
        clauses.append(f"{classifier.answer(probabilities)} with {value}")
    return f"samples/{name}: {clauses[0]}, recorded {clauses[1]}"


def machine(pinned_to: list[int]) -> dict:
    """What latency depends on besides the model: processor and its flags, versions, load.

    Parameters
    ----------
    pinned_to : numbers of the processors that each timed process keeps to
    """
    import onnxruntime

    fields = _cpuinfo()
    return {
        "cpu": fields.get("model name") or _board() or platform.machine(),
        "architecture": platform.machine(),
        "flags": fields.get("flags") or fields.get("Features", ""),
        "cores": os.cpu_count(),
        "pinned_to": pinned_to,
        "cpu_quota": quota(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "governor": governor(pinned_to[0] if pinned_to else 0),
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

    The process is pinned to as many processors as it has threads, the fastest ones.

    Returns
    -------
    In ms: `load_ms`; `first_query_ms`; `samples_ms` [queries], of the model alone; and
    `end_to_end_samples_ms`, from an image file's bytes to its label.
    """
    pin(threads)
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
    if threads > cpus():
        _say(f"this process may use {cpus()} processor(s), so the model is timed with as many")
        threads = cpus()
    pinned_to = _in_fresh_process(pin, threads)
    if not pinned_to:
        _say("this system does not let a process be pinned, so times vary more")
    # Before the measurement, so that the load average is not that of the bench itself.
    described = machine(pinned_to)
    try:
        message, agrees = check(Classifier(folder, threads), folder), True
    except Unreadable as error:
        message, agrees = str(error), False
    processes = []
    for number in range(1, settings["processes"] + 1):
        _say(f"timing, process {number} of {settings['processes']}")
        times = _in_fresh_process(
            time_queries, folder, threads, settings["queries"], settings["warmup"]
        )
        processes.append(times)
    result = {
        "candidate": run["candidate"],
        "machine": described,
        "settings": {**settings, "threads": threads},
        "check": {"agrees": agrees, "said": message},
    }
    for key in processes[0]:
        result[key] = [times[key] for times in processes]
    return result


def _in_fresh_process(function: Callable, *arguments):
    """Call a function in a process of its own, and return its result."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def sources(arguments: list[str]) -> Iterator[str]:
    """Paths of images: files as given, all images in a folder, `-` for lines of standard input.

    A folder without images is given as it is.
    """
    for argument in arguments:
        paths = _listed(sys.stdin.buffer) if argument == "-" else [argument]
        for path in paths:
            if os.path.isdir(path):
                yield from _images_in(Path(path)) or [path]
            else:
                yield path


def _images_in(folder: Path) -> list[str]:
    """Paths of all images in a folder and in those below it, without hidden ones."""
    found = []
    for path in sorted(folder.rglob("*"), key=str):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in SUFFIXES and not hidden:
            found.append(str(path))
    return found


def _listed(stream: IO[bytes]) -> Iterator[str]:
    """Paths in a list, one a line, with the encodings and line ends of any system."""
    first = stream.readline()
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        lines: Iterator[str] = iter((first + stream.read()).decode("utf-16").split("\n"))
    else:
        if first.startswith(codecs.BOM_UTF8):
            first = first[len(codecs.BOM_UTF8) :]
        lines = map(os.fsdecode, itertools.chain([first], stream))
    for line in lines:
        path = line.rstrip("\r\n")
        if path:
            yield _local(path)


def _local(path: str) -> str:
    """A path as this system writes it; Windows has backslashes for slashes."""
    slashes = path.replace("\\", "/")
    return slashes if not os.path.exists(path) and os.path.exists(slashes) else path


def classify(classifier: Classifier, arguments: list[str], as_json: bool) -> int:
    """Print a line for each image, as CSV or JSON.

    Returns
    -------
    1 where an image could not be read or a folder has none, else 0. Standard error names each.
    """
    failed = 0
    writer = csv.writer(sys.stdout, lineterminator="\n")
    if not as_json:
        decided = ["decision", "defect_score"] if classifier.operating_point else []
        labels = [f"p_{label}" for label in classifier.labels]
        writer.writerow(["path", "predicted", *decided, *labels])
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
    """One image's path, predicted class, decision (if any) and probability of each class."""
    if os.path.isdir(source):
        raise Unreadable(f"{source} has no images: name a folder with {' '.join(SUFFIXES)} files")
    probabilities = classifier(source)
    row = {"path": source, "predicted": classifier.labels[probabilities.argmax()]}
    if classifier.operating_point:
        score = classifier.defect_score(probabilities)
        row.update(decision=classifier.decision(score), defect_score=score)
    for label, probability in zip(classifier.labels, probabilities):  # noqa: B905 (Python 3.8)
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
    args = parser.parse_args()
    if not (args.images or args.check or args.bench):
        parser.error("name images to classify, or --check, or --bench")
    return args


def main() -> int:
    """Do what the command line says; 1 where the check fails or an image cannot be read."""
    args = _arguments()
    folder = Path(__file__).resolve().parent
    # Paths and class names in any language, to consoles and pipes of any.
    cast(io.TextIOWrapper, sys.stdout).reconfigure(encoding="utf-8", errors="surrogateescape")
    try:
        classifier = Classifier(folder, args.threads)
        if args.check:
            print(check(classifier, folder))
        if args.bench:
            result = bench(folder, args.threads)
            args.bench.write_text(json.dumps(result) + "\n", encoding="utf-8")
            print(
                f"p50 {np.median(result['samples_ms']):.3f} ms, {result['settings']['threads']} "
                f"thread(s), {result['machine']['cpu']}: {args.bench}; {result['check']['said']}"
            )
    except (UserError, OSError) as error:
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
