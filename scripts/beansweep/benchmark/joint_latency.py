"""Time candidates of several backbones together, until they are ranked or time is up."""

import itertools
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from beansweep.analysis import timing
from beansweep.benchmark import control_model, latency, same_arithmetic, worker
from beansweep.benchmark.controls import CONTROL_MODEL
from beansweep.common import progress

# A ratio that is known to within this share is known well enough.
NEGLIGIBLE = 0.02
RANKED, TIME_IS_UP = "ranked", "time"


def measure(
    metadata_files: dict[str, Path], photographs: list[bytes], settings: dict, confidence: float
) -> dict:
    """Time candidates interleaved, in as many fresh processes as it takes to rank them.

    The ratios are looked at after `processes` processes, twice as many, four times as many and so
    on. Timing ends where the ratios of each candidate to the fastest and to the next one leave out
    1 or are known to within NEGLIGIBLE, or after `finalist_minutes`.

    To look often and to stop at a look that pleases makes differences out of chance. So the k-th
    look has only 1/2**k of the chance of an error that `confidence` leaves. An interval covers its
    ratio at every look with at least that confidence (Bonferroni's inequality).

    Parameters
    ----------
    metadata_files : candidate -> metadata file; may be empty
    photographs : image files' bytes, from the test images
    settings : of the bench in config.yaml; only the first of `threads` is timed
    confidence : of all intervals

    Returns
    -------
    `candidates` : candidate -> p50, its interval, and the other figures of latency.json that are
        of queries
    `ratios` : candidate -> other candidate -> p50 of the first divided by that of the other, with
        `low` and `high`
    `controls` : `control_model` -> figures of its queries
    `processes` : their number
    `stopped` : RANKED or TIME_IS_UP
    """
    same = same_arithmetic.first_of_same(metadata_files)
    timed = {name: metadata_files[name] for name in dict.fromkeys(same.values())}
    if not timed:
        nothing: dict = {"candidates": {}, "ratios": {}, "controls": {}}
        return {**nothing, "processes": 0, "stopped": RANKED}
    samples, end_to_end, ratios, stopped = _time(timed, photographs, settings, confidence)
    figures = {}
    for name, times in samples.items():
        figures[name] = latency.summarise(times, settings["batch_size"])
        figures[name] |= timing.p50_interval(times, confidence)
        if name in timed:
            figures[name] |= latency.end_to_end_figures(end_to_end[name])
    return {
        "candidates": {name: figures[first] for name, first in same.items()},
        "ratios": _of_all(ratios, same),
        "controls": {CONTROL_MODEL: figures[CONTROL_MODEL]},
        "processes": len(samples[CONTROL_MODEL]),
        "stopped": stopped,
    }


def _time(
    metadata_files: dict[str, Path], photographs: list[bytes], settings: dict, confidence: float
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, dict], str]:
    """Time until a look ends it.

    Returns
    -------
    Samples of the models alone and from an image file to its label, name -> float [processes,
    rounds, queries] in ms; the ratios of the last look; and why it was the last.
    """
    alone: dict[str, list] = defaultdict(list)
    end_to_end: dict[str, list] = defaultdict(list)
    end = time.monotonic() + 60 * settings["finalist_minutes"]
    look, next_look, plan = 0, settings["processes"], None
    with tempfile.TemporaryDirectory() as folder:
        models = {**metadata_files, CONTROL_MODEL: control_model.write(Path(folder))}
        for process in itertools.count():
            start = time.monotonic()
            threads = settings["threads"][0]
            times = latency.run_in_fresh_process(
                worker.time_all, models, photographs, settings, threads, process, plan
            )
            plan = plan or worker.plan_of(times[0])
            latency.append_each(alone, times[0])
            latency.append_each(end_to_end, times[1])
            done, now = process + 1, time.monotonic()
            # Another process would take as long as this one.
            time_is_up = done >= settings["processes"] and 2 * now - start > end
            if done < next_look and not time_is_up:
                continue
            look, next_look = look + 1, 2 * next_look
            samples = {name: np.asarray(found) for name, found in alone.items()}
            ratios = _ratios(samples, metadata_files, 1 - (1 - confidence) / 2**look)
            unknown = _unknown(samples, ratios)
            _say(metadata_files, done, unknown)
            if not unknown or time_is_up:
                break
    stopped = TIME_IS_UP if unknown else RANKED
    return samples, {name: np.asarray(found) for name, found in end_to_end.items()}, ratios, stopped


def _ratios(
    samples: dict[str, np.ndarray], names: dict[str, Path], confidence: float
) -> dict[str, dict]:
    """The ratio of each model to each other one, and to itself."""
    ratios: dict[str, dict] = {}
    for name in names:
        ratios[name] = {}
        for other in names:
            ratios[name][other] = timing.ratio(samples[name], samples[other], confidence)
    return ratios


def _unknown(samples: dict[str, np.ndarray], ratios: dict[str, dict]) -> list[tuple[str, str]]:
    """The pairs with an unknown order: of neighbours by p50, and of each with the fastest."""
    order = sorted(ratios, key=lambda name: float(np.median(samples[name])))
    pairs = {*itertools.pairwise(order), *((order[0], name) for name in order[1:])}
    return [pair for pair in sorted(pairs) if not is_known(ratios[pair[0]][pair[1]])]


def is_known(ratio: dict) -> bool:
    """Whether the interval of a ratio leaves out 1, or is so narrow that this hardly matters."""
    low, middle, high = ratio["low"], ratio["ratio"], ratio["high"]
    return low > 1 or high < 1 or max(high / middle, middle / low) <= 1 + NEGLIGIBLE


def _of_all(ratios: dict[str, dict], same: dict[str, str]) -> dict[str, dict]:
    """The ratios of all candidates to all others, also of those of the same arithmetic."""
    found: dict[str, dict] = {}
    for name in same:
        found[name] = {}
        for other in same:
            if other != name:
                found[name][other] = ratios[same[name]][same[other]]
    return found


def _say(names: dict[str, Path], processes: int, unknown: list[tuple[str, str]]) -> None:
    """Say how far the timing is."""
    pairs = ", ".join(f"{one} and {other}" for one, other in unknown) or "none"
    progress.say(
        f"bench of finalists: {len(names)} timed in {processes} processes; "
        f"not yet told apart: {pairs}"
    )
