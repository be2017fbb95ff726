"""The text on the finalists, which were timed together, and on times of other machines."""

import pandas as pd

from beansweep.common.words import counted
from beansweep.report import markdown

_STOPPED = {
    "ranked": "Timing ended when their order was known, or known to make next to no difference.",
    "time": "Timing ended at `bench.finalist_minutes`, before their order was known: where an "
    "interval contains 1, it is a tie.",
}
# A change of the machine's speed by less than this is not worth a line.
_CHANGE = 0.005


def text(candidates: pd.DataFrame, together: dict) -> str:
    """Who was timed together, their ratios, and what that did to the times of the others.

    Parameters
    ----------
    candidates : the table of candidates
    together : contents of finalists.json
    """
    return markdown.paragraphs(
        _finalists(candidates, together), _scales(candidates), elsewhere(candidates)
    )


def _finalists(candidates: pd.DataFrame, together: dict) -> str:
    """The finalists and their ratios to the fastest; empty where there is none."""
    times = candidates[candidates["timed_together"]].sort_values("p50_ms", kind="stable")
    if times.empty:
        return ""
    fastest = str(times.index[0])
    introduction = (
        f"{markdown.names(candidates, times.index)}: "
        f"{counted(len(times), 'candidates')} could be the pick. "
        f"{'It was timed again' if len(times) == 1 else 'They were timed again, together,'} "
        f"in {together['processes']} fresh processes."
    )
    if len(times) == 1:
        return introduction
    rows = []
    for name, row in times.iloc[1:].iterrows():
        ratio = together["ratios"][name][fastest]
        interval = f"{ratio['low']:.3f} to {ratio['high']:.3f}"
        rows.append([markdown.name(row), f"{ratio['ratio']:.3f}", interval])
    header = ["finalist", f"p50 divided by that of {markdown.name(times.iloc[0])}", "interval"]
    return markdown.paragraphs(
        f"{introduction} {_STOPPED[together['stopped']]}", markdown.table(header, rows, 1)
    )


def _scales(candidates: pd.DataFrame) -> str:
    """By what the times of other candidates were multiplied; empty where it is hardly anything."""
    scales = candidates[~candidates["timed_together"]].groupby("backbone", sort=False)["time_scale"]
    changes = []
    for backbone, scale in scales.first().items():
        if abs(scale - 1) >= _CHANGE:
            changes.append(f"{scale:.3f} for `{backbone}`")
    if not changes:
        return ""
    return (
        "The machine had another speed then than in the benchmarks of single backbones. So the "
        "times of the other candidates are multiplied by what it changed, as the finalists of "
        f"their backbone or the control model show it: {', '.join(changes)}."
    )


def elsewhere(candidates: pd.DataFrame) -> str:
    """Which backbones were timed on another machine, and what to do; empty where none was."""
    rows = candidates[candidates["timed_elsewhere"]]
    if rows.empty:
        return ""
    targets, places = [], []
    for backbone, place in rows.groupby("backbone", sort=False)["timed_on"].first().items():
        targets.append(f"results/{backbone}/latency.json")
        places.append(f"`{backbone}` ({place})")
    here = candidates.loc[~candidates["timed_elsewhere"], "timed_on"].iloc[0]
    return (
        f"**Timed on another machine: {', '.join(places)}.** Their times cannot be ranked against "
        f"those of this one ({here}), so they are not on the front and never picked. To time them "
        f"here, remove {', '.join(markdown.code(targets))} and run again."
    )
