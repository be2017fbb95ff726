"""The figures of the Pareto front: test macro-F1, or good ones rejected, against p50 latency."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.path import Path
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from beansweep.analysis import front, limits
from beansweep.report import style

# Square points of the mark of the largest file, and of a mark in the legend.
_LARGEST, _LEGEND = 600, 60
# How far below the lowest FP32 the figure is to scale.
_ROOM_BELOW = 0.06
# An arrow down: mathtext's is drawn as a dash.
_DOWN = Path([(-0.3, 1), (0.3, 1), (0.3, 0), (1, 0), (0, -1), (-1, 0), (-0.3, 0)])
# Steps of 6 points by which a label may be further from its mark, and the angles it may stand at:
# left and right of the mark before above and below it.
_RINGS = 20
_ANGLES = np.radians((0, 180, 30, -30, 150, -150, 60, -60, 90, -90, 120, -120))


@dataclass(frozen=True)
class Figure:
    """A figure of the table of candidates on the vertical axis.

    Attributes
    ----------
    column : of its estimate on the test images
    label : of the axis
    direction : 1 where more is better, -1 where less is; better is always higher up
    percent : whether it is written in percent
    """

    column: str
    label: str
    direction: int
    percent: bool

    def gain(self, candidates: pd.DataFrame, end: str = "") -> pd.Series:
        """Its values, the more the better; of the interval's worse or better end where named."""
        ends = {"worse": "_low", "better": "_high"}
        if self.direction < 0:
            ends = {"worse": "_high", "better": "_low"}
        return self.direction * candidates[self.column + ends.get(end, "")]

    def words(self, gain: float) -> str:
        """The value with a gain, in words."""
        # Plus zero: no minus before a zero.
        value = self.direction * gain + 0.0
        return f"{100 * value:.3g}%" if self.percent else f"{value:.3g}"


MACRO_F1 = Figure("test_macro_f1", "test macro-F1", 1, percent=False)
REJECTED_GOOD = Figure("test_rejected_good_rate", "good test images rejected", -1, percent=True)


@dataclass
class Marks:
    """How candidates are drawn, a row each.

    Attributes
    ----------
    collapsed : bool, far below every FP32: drawn as arrows on the lower edge
    gain : of the figure, as drawn
    worse, better : ends of its interval, as drawn
    area : of the mark, in square points
    floor : gain of the lower edge
    """

    collapsed: pd.Series
    gain: pd.Series
    worse: pd.Series
    better: pd.Series
    area: pd.Series
    floor: float


def draw(candidates: pd.DataFrame, chosen, deploy: dict, shown: Figure = MACRO_F1) -> plt.Figure:
    """Draw the front: area is size, colour the backbone, hollow FP32, bars intervals.

    Latency is on a logarithmic scale. A collapsed candidate would leave no room to tell the others
    apart, so a candidate far below every FP32 is on the lower edge, with its value next to its
    name. Regions beyond a limit are shaded. Limits are checked on the validation images, so a
    candidate that may not be picked is named in gray italics, wherever it is.

    Parameters
    ----------
    candidates : the table of candidates
    chosen : index label of the pick, or None
    deploy : limits, as in config.yaml
    shown : the figure on the vertical axis
    """
    figure, axes = plt.subplots(figsize=(9, 5.5))
    marks = _marks(candidates, shown)
    for number, backbone in enumerate(candidates["backbone"].unique()):
        rows = candidates[candidates["backbone"] == backbone]
        _draw_backbone(axes, rows, marks, number)
    _explain_marks(axes, candidates)
    members = _members(candidates, shown)
    _draw_steps(axes, candidates["p50_ms"], marks, members & ~marks.collapsed)
    radii = pd.Series(np.where(marks.collapsed, 5, np.sqrt(marks.area) / 2), candidates.index)
    if chosen is not None:
        radii[chosen] = _draw_ring(axes, candidates, chosen, marks)
    axes.set(ylabel=shown.label)
    axes.yaxis.set_major_formatter(lambda gain, _: shown.words(gain))
    style.logarithmic(axes, "p50 latency (ms, logarithmic)")
    axes.margins(0.12)
    shade_limits(axes, deploy, shown)
    place_labels(
        axes,
        candidates["p50_ms"].to_numpy(),
        marks.gain.to_numpy(),
        _names(candidates, members | (candidates.index == chosen), marks, shown),
        radii.to_numpy(),
        (candidates["obstacles"] == "").to_numpy(),
    )
    axes.grid(color="0.92", which="both")
    style.legend(figure, axes)
    return figure


def scale(
    candidates: pd.DataFrame, shown: Figure = MACRO_F1, margin: float = 0
) -> tuple[float, float]:
    """Gains to show to scale: all but of candidates that collapsed far below every FP32."""
    gains = shown.gain(candidates)
    fp32 = gains[candidates["variant"] == "fp32"]
    fp32 = fp32 if len(fp32) else gains
    room = max(_ROOM_BELOW, fp32.max() - fp32.min())
    return fp32.min() - room - margin, shown.gain(candidates, "better").max() + margin


def _marks(candidates: pd.DataFrame, shown: Figure) -> Marks:
    """How each candidate is drawn."""
    lowest, _ = scale(candidates, shown)
    gains, sizes = shown.gain(candidates), candidates["megabytes"]
    worse, collapsed = shown.gain(candidates, "worse"), gains < lowest
    # No interval that is drawn to scale is cut.
    floor = min(lowest, worse[~collapsed].min())
    return Marks(
        collapsed=collapsed,
        gain=gains.mask(collapsed, floor),
        worse=worse.clip(lower=floor),
        better=shown.gain(candidates, "better"),
        area=_LARGEST * sizes / sizes.max(),
        floor=floor,
    )


def _members(candidates: pd.DataFrame, shown: Figure) -> pd.Series:
    """Which candidates are on the front of a figure and p50: bool, a row each."""
    here = candidates[~candidates["timed_elsewhere"]]
    dominators = front.dominators(shown.gain(here).to_numpy(), here["p50_ms"].to_numpy())
    found = here.index[[not by for by in dominators]]
    return pd.Series(candidates.index.isin(found), candidates.index)


def _draw_backbone(axes: plt.Axes, rows: pd.DataFrame, marks: Marks, number: int) -> None:
    """Draw a backbone's candidates, their intervals, and lines from FP32 to each of them."""
    colour, marker = style.colour(number), style.marker(number)
    fp32 = rows[rows["variant"] == "fp32"]
    for label, row in rows.iterrows():
        collapsed = marks.collapsed[label]
        at = row["p50_ms"], marks.gain[label]
        for own, full in fp32.iterrows():
            ends = [full["p50_ms"], at[0]], [marks.gain[own], at[1]]
            pattern = ":" if collapsed else "-"
            axes.plot(*ends, color=colour, linewidth=0.6, linestyle=pattern, zorder=2)
        if not collapsed:
            _draw_bar(axes, row["p50_ms"], marks.worse[label], marks.better[label], colour)
        axes.scatter(
            *at,
            s=_LEGEND if collapsed else marks.area[label],
            marker=_DOWN if collapsed else marker,
            edgecolors=colour,
            facecolors="white" if row["variant"] == "fp32" else colour,
            linewidths=1.5,
            zorder=3,
        )
    axes.scatter([], [], s=_LEGEND, marker=marker, color=colour, label=rows["backbone"].iloc[0])


def _draw_bar(axes: plt.Axes, x: float, low: float, high: float, colour: str) -> None:
    """Draw an interval."""
    line: dict[str, Any] = {
        "color": colour,
        "linewidth": 2.5,
        "alpha": 0.35,
        "solid_capstyle": "butt",
    }
    axes.plot([x, x], [low, high], zorder=1.5, **line)


def _explain_marks(axes: plt.Axes, candidates: pd.DataFrame) -> None:
    """Add to the legend what is hollow, and the area of a file of middle size."""
    axes.scatter([], [], s=_LEGEND, facecolors="white", edgecolors="black", label="hollow: fp32")
    sizes = candidates["megabytes"]
    middle = float(f"{np.sqrt(sizes.min() * sizes.max()):.0e}")
    area = _LARGEST * middle / sizes.max()
    axes.scatter([], [], s=area, color="0.7", label=f"{middle:g} MB")


def _draw_steps(axes: plt.Axes, p50: pd.Series, marks: Marks, members: pd.Series) -> None:
    """Draw the front through its members: bool, a row a candidate."""
    p50 = p50[members].sort_values()
    axes.step(
        p50,
        marks.gain[p50.index],
        where="post",
        color="0.5",
        linestyle="--",
        linewidth=1,
        label="front",
        zorder=1,
    )


def _draw_ring(axes: plt.Axes, candidates: pd.DataFrame, chosen, marks: Marks) -> float:
    """Draw a ring around the pick, and return its radius in points."""
    diameter = np.sqrt(marks.area[chosen]) + 9
    ring: dict[str, Any] = {
        "facecolors": "none",
        "edgecolors": "black",
        "linewidths": 1.5,
        "linestyles": ":",
    }
    at = candidates.loc[chosen, "p50_ms"], marks.gain[chosen]
    axes.scatter(*at, s=diameter**2, zorder=4, **ring)
    axes.scatter([], [], s=90, label="pick", **ring)
    return diameter / 2


def shade_limits(axes: plt.Axes, deploy: dict, shown: Figure = MACRO_F1) -> None:
    """Shade what is beyond a limit of p50 or of the figure that is shown."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    shade: dict[str, Any] = {"facecolor": "0.5", "alpha": 0.13, "zorder": 0.5, "linewidth": 0}
    spans = []
    for limit in limits.limits_set(deploy):
        value = deploy[limit.key]
        if limit.estimate == shown.column.replace("test_", "val_"):
            gain = shown.direction * value
            if gain > bottom:
                spans.append(axes.axhspan(bottom, min(gain, top), **shade))
        if limit.estimate == "p50_ms" and value < right:
            spans.append(axes.axvspan(max(value, left), right, **shade))
    for span in spans[:1]:
        span.set_label("beyond a limit\n(checked on validation)")
    axes.set(xlim=(left, right), ylim=(bottom, top))


def _names(candidates: pd.DataFrame, named: pd.Series, marks: Marks, shown: Figure) -> list[str]:
    """The names to write; empty for a candidate that goes without.

    Parameters
    ----------
    named : bool, a row each; of more candidates than can be read, these and the collapsed ones have
        their name, with that of the backbone
    """
    names, gains = [], shown.gain(candidates)
    many = len(candidates) > style.NAMED
    for label, row in candidates.iterrows():
        value = f" ({shown.words(gains[label])})" if marks.collapsed[label] else ""
        name = f"{row['backbone']} {row['variant']}" if many else row["variant"]
        has_name = named[label] or marks.collapsed[label] or not many
        names.append(name + value if has_name else "")
    return names


def place_labels(
    axes: plt.Axes,
    x: np.ndarray,
    y: np.ndarray,
    texts: list[str],
    radii: np.ndarray,
    strong: np.ndarray,
) -> None:
    """Write a label near each point, where it covers no mark and no other label.

    Parameters
    ----------
    x, y : float [n] in data units
    texts : [n], empty for a point without a label
    radii : float [n] of the marks, in points
    strong : bool [n], false for a label in gray italics
    """
    axes.figure.canvas.draw()
    pixels = axes.figure.dpi / 72
    taken = []
    for centre, radius in zip(
        axes.transData.transform(np.column_stack([x, y])), radii * pixels, strict=True
    ):
        taken.append(Bbox.from_extents(*(centre - radius), *(centre + radius)))
    for index in np.argsort(y):
        if texts[index]:
            label = _write(axes, (x[index], y[index]), texts[index], radii[index], strong[index])
            taken.append(_move(axes, label, radii[index], taken))


def _write(
    axes: plt.Axes, at: tuple[float, float], text: str, radius: float, strong: bool
) -> Annotation:
    """Write a label over a mark, with a line between the two."""
    return axes.annotate(
        text,
        at,
        xytext=(0, 0),
        textcoords="offset points",
        fontsize=8,
        va="center",
        ha="center",
        zorder=5,
        color="black" if strong else "0.4",
        style="normal" if strong else "italic",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.3},
        arrowprops={
            "arrowstyle": "-",
            "color": "0.4",
            "linewidth": 0.6,
            "shrinkA": 0,
            "shrinkB": radius,
        },
    )


def _move(axes: plt.Axes, label: Annotation, radius: float, taken: list[Bbox]) -> Bbox:
    """Move a label to the nearest free place around its mark, and return the place in pixels.

    The line to the mark is shown where the label is far from it.

    Parameters
    ----------
    radius : of the mark, in points
    taken : places of marks and of other labels, in pixels
    """
    canvas = axes.figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)  # See `style`.
    renderer = canvas.get_renderer()
    pixels = axes.figure.dpi / 72
    # Without the line, which the annotation's own extent includes.
    size = Text.get_window_extent(label)
    for ring, angle in np.ndindex(_RINGS, len(_ANGLES)):
        distance = radius + 4 + 6 * ring
        label.xyann = (
            np.cos(_ANGLES[angle]) * (distance + size.width / pixels / 2),
            np.sin(_ANGLES[angle]) * (distance + size.height / pixels / 2),
        )
        label.update_positions(renderer)
        box = Text.get_window_extent(label).padded(pixels)
        inside = axes.bbox.contains(box.x0, box.y0) and axes.bbox.contains(box.x1, box.y1)
        if inside and not box.count_overlaps(taken):
            break
    assert label.arrow_patch is not None  # `_write` drew it.
    label.arrow_patch.set_visible(distance > radius + 10)
    return box
