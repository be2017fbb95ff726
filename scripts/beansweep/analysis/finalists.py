"""Times of all candidates on one scale, by the finalists that were timed together.

Each backbone has a bench of its own, minutes from the next one, and the machine may change its
speed meanwhile. The finalists, of all backbones, were timed once more, in the same processes.
"""

from collections import Counter

import numpy as np
import pandas as pd

from beansweep.analysis import timing

# Columns that a slower machine makes longer.
_TIMES = (
    "p50_ms",
    "p50_low_ms",
    "p50_high_ms",
    "p90_ms",
    "p95_ms",
    "p99_ms",
    "mean_ms",
    "end_to_end_p50_ms",
    "end_to_end_p90_ms",
)


def set_times(table: pd.DataFrame, benches: dict[str, dict], together: dict | None) -> None:
    """Put all times of the table of candidates onto one scale, in place.

    Finalists get the times that were measured together. Those of other candidates are multiplied
    by what the machine changed between their bench and that of the finalists. The finalists of the
    same backbone show it, which were timed in both; without any, the control model does.

    Parameters
    ----------
    table : a row a candidate, with the figures of its backbone's bench
    benches : backbone -> contents of its latency.json
    together : contents of finalists.json; None where there is none

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
        _rescale(table, _scales(benches, together, here))
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
        f"{machine['cpu']}, {machine['instruction_set']}, "
        f"ONNX Runtime {machine['onnxruntime']}, {threads} thread(s)"
    )


def _place(times: dict) -> str:
    """Where a file of times is from."""
    return conditions(times["machine"], times["settings"]["threads"][0])


def _scales(benches: dict[str, dict], together: dict, here: str) -> dict[str, float]:
    """By what each backbone's times have to be multiplied; 1 where they are of another machine.

    It is the geometric mean over what was timed in both.
    """
    scales = {}
    for backbone, bench in benches.items():
        ratios = []
        for variant, before in bench["variants"].items():
            after = together["candidates"].get(f"{backbone}:{variant}")
            if after:
                ratios.append(after["p50_ms"] / before["p50_ms"])
        if not ratios:
            before, after = (file["controls"]["control_model"] for file in (bench, together))
            ratios.append(after["p50_ms"] / before["p50_ms"])
        mean = float(np.exp(np.mean(np.log(ratios))))
        scales[backbone] = mean if _place(bench) == here else 1.0
    return scales


def _rescale(table: pd.DataFrame, scales: dict[str, float]) -> None:
    """Multiply each backbone's times."""
    table["time_scale"] = table["backbone"].map(scales)
    for column in _TIMES:
        table[column] *= table["time_scale"]
    table["images_per_second"] /= table["time_scale"]


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
