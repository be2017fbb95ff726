"""The figure of good ones rejected against defects missed: what each threshold costs."""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.ticker import PercentFormatter

from beansweep.analysis import decisions, stability
from beansweep.analysis.candidates import Candidates
from beansweep.report import style
from beansweep.report.report_data import ReportData

# Candidates next to the one that is shown in detail and its FP32.
_OTHERS = 3
# The figure goes this many times as far as the limit and the operating points.
_ROOM = 2.5


def compared(sweep: ReportData) -> list[str]:
    """The candidates to draw: the pick, its FP32, and its nearest rivals.

    These are the ones that most resamples pick, then the fastest that may be picked, and then the
    fastest others but baselines.
    """
    subject, table, choice = sweep.subject, sweep.table, sweep.choice
    names = [str(subject.name), f"{subject['backbone']}:fp32"]
    rivals = [name for name in choice.picks.value_counts().index if name != stability.NOTHING]
    fastest = table[~table["baseline"]].sort_values("p50_ms", kind="stable")
    rivals += [*fastest.index[fastest["obstacles"] == ""], *fastest.index]
    others = [name for name in dict.fromkeys(rivals) if name not in names]
    return [*dict.fromkeys(names), *others[:_OTHERS]]


def draw(candidates: Candidates, names: list[str]) -> plt.Figure:
    """Draw the curve of each of some candidates on the test images, and its operating point.

    Parameters
    ----------
    names : index labels, the one that is shown in detail first
    """
    figure, axes = plt.subplots(figsize=(7, 4.5))
    images, table = candidates.images["test"], candidates.table
    limit = candidates.deploy["max_missed_defect_rate"]
    rows = table.loc[names]
    for number, (name, row) in enumerate(rows.iterrows()):
        place = table.index.get_loc(name)
        missed, rejected = decisions.curve(images.good_scores[place], images.defect_scores[place])
        axes.step(
            missed,
            rejected,
            where="post",
            linewidth=2.2 if number == 0 else 1.2,
            label=f"{row['backbone']}  {row['variant']}",
            color=style.colour(number),
            linestyle=style.line(number),
        )
        _draw_point(axes, row, number)
    farthest = min(1, _ROOM * max(limit or 0, rows["test_missed_defect_rate"].max(), 0.02))
    if limit is not None and limit < farthest:
        axes.axvspan(limit, farthest, facecolor="0.5", alpha=0.13, label="beyond the limit")
    axes.set(xlabel="test defects missed", ylabel="good test images rejected")
    axes.set(xlim=(-0.01 * farthest, farthest), ylim=(-0.02, 1.02))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return figure


def _draw_point(axes: plt.Axes, row: pd.Series, number: int) -> None:
    """Draw a candidate's operating point, with the intervals of both shares."""
    x, y = row["test_missed_defect_rate"], row["test_rejected_good_rate"]
    ends = []
    for figure, share in (("missed_defect_rate", x), ("rejected_good_rate", y)):
        low, high = row[f"test_{figure}_low"], row[f"test_{figure}_high"]
        # An end may be beyond the share by a rounding error.
        ends.append(np.maximum([[share - low], [high - share]], 0))
    axes.errorbar(
        x,
        y,
        xerr=ends[0],
        yerr=ends[1],
        fmt=style.marker(number),
        color=style.colour(number),
        markersize=8 if number == 0 else 6,
        linewidth=0.8,
        zorder=3,
    )
