"""Times of all candidates on one scale, by the finalists that were timed together.

Each backbone has a bench of its own, minutes from the next one, and the machine may change its
speed meanwhile. The finalists, of all backbones, were timed once more, in the same processes.
"""

from collections import Counter

import numpy as np
import pandas as pd

from beansweep.analysis import timing
from beansweep.common.words import counted

# Columns that a slower machine makes longer.
_TIMES = [
    "p50_ms",
    "p90_ms",
    "p95_ms",
    "p99_ms",
    "mean_ms",
    "end_to_end_p50_ms",
    "end_to_end_p90_ms",
]


def set_times(
    table: pd.DataFrame, benches: dict[str, dict], together: dict | None, confidence: float
) -> None:
    """Put all times of the table of candidates onto one scale, in place.

    Finalists get the times that were measured together. Those of other candidates are multiplied
    by what the machine changed between their bench and that of the finalists. The finalists of the
    same backbone show it, which were timed in both; without any, the control model does. Intervals
    of p50 have the noise of both benches, see `timing.carried_p50_interval`.

    Parameters
    ----------
    table : a row a candidate, with the figures of its backbone's bench
    benches : backbone -> what `timing.read` gives of its latency.json
    together : contents of finalists.json; None where there is none
    confidence : of the intervals

    These columns are new: `timed_on`, the machine; `timed_elsewhere`, whether that is not the
    machine of the finalists (without any, of most benches); `time_scale`, by what times were
    multiplied; `timed_together`, whether it is a finalist; `p50_beaten_by`, names of the finalists
    that are shown to be faster than this one.
    """
    places = {backbone: _place(bench) for backbone, bench in benches.items()}
    mark_timed_alone(table, "")
    table["timed_on"] = table["backbone"].map(places)
    if not together or not together["candidates"]:
        here = Counter(places.values()).most_common(1)[0][0]
    else:
        here = _place(together)
        for backbone, bench in benches.items():
            if places[backbone] == here:
                _rescale(table, backbone, bench, together, confidence)
        _overwrite(table, together, here)
    table["timed_elsewhere"] = table["timed_on"] != here


def mark_timed_alone(table: pd.DataFrame, place: str) -> None:
    """Set the columns of `set_times` in place where no finalists were timed.

    Parameters
    ----------
    place : the machine that all candidates were timed on; see `conditions`
    """
    table["timed_on"], table["timed_elsewhere"] = place, False
    table["time_scale"], table["timed_together"] = 1.0, False
    table["p50_beaten_by"] = [[] for _ in table.index]


def conditions(machine: dict, threads: int) -> str:
    """What times have to have in common to be ranked against each other, in words.

    Parameters
    ----------
    machine : as `benchmark.machine.describe` gives it
    threads : intra-op threads
    """
    return (
        f"{machine['cpu']}, {machine['instruction_set']}, ONNX Runtime {machine['onnxruntime']}, "
        f"{counted(threads, 'threads')}"
    )


def _place(times: dict) -> str:
    """Where a file of times is from."""
    return conditions(times["machine"], times["settings"]["threads"][0])


def _rescale(
    table: pd.DataFrame, backbone: str, bench: dict, together: dict, confidence: float
) -> None:
    """Multiply a backbone's times, and carry over its intervals of p50."""
    links = _links(backbone, bench, together)
    ratios = [after["p50_ms"] / before["p50_ms"] for before, after in links]
    scale = float(np.exp(np.mean(np.log(ratios))))
    rows = table["backbone"] == backbone
    table.loc[rows, "time_scale"] = scale
    table.loc[rows, _TIMES] *= scale
    table.loc[rows, "images_per_second"] /= scale
    for name, variant in table.loc[rows, "variant"].items():
        samples = bench["variants"][variant]["samples_ms"]
        interval = timing.carried_p50_interval(samples, links, confidence)
        table.loc[name, list(interval)] = list(interval.values())


def _links(backbone: str, bench: dict, together: dict) -> list[tuple[dict, dict]]:
    """Figures of what was timed in a backbone's bench and with the finalists, of both times."""
    links = []
    for variant, before in bench["variants"].items():
        after = together["candidates"].get(f"{backbone}:{variant}")
        if after:
            links.append((before, after))
    if not links:
        links.append((bench["controls"]["control_model"], together["controls"]["control_model"]))
    return links


def _overwrite(table: pd.DataFrame, together: dict, here: str) -> None:
    """Give the finalists the times that were measured together."""
    for name in table.index.intersection(list(together["candidates"])):
        for column, value in timing.figures(together["candidates"][name]).items():
            table.loc[name, column] = value
        table.loc[name, ["timed_on", "time_scale", "timed_together"]] = here, 1.0, True
    ratios = together["ratios"]
    table["p50_beaten_by"] = [_faster(ratios.get(name, {})) for name in table.index]


def _faster(ratios: dict[str, dict]) -> list[str]:
    """The candidates that one is shown to be slower than; see `benchmark.joint_latency.measure`."""
    return [other for other, ratio in ratios.items() if ratio["low"] > 1]
