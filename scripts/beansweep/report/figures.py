"""Figures of the report, in one style: legible in black and white, safe for colour-blind eyes."""

from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.text import Text
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from matplotlib.transforms import Bbox
from PIL import Image

from beansweep.analysis import limits
from beansweep.common import files

# A $ in a file's or a class's name is no formula.
matplotlib.rcParams["text.parse_math"] = False

# Okabe and Ito (2008): distinguishable with every common colour vision.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
# Their number has no factor in common with that of the colours: 77 backbones look different.
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h"]
LINES = ["-", "--", "-.", ":"]
# How far from its mark a label may be put, in steps of 6 points.
_RINGS = 20
# Square points of the mark of the largest file.
_LARGEST = 600
# Macro-F1 below the lowest FP32 that the front's figure shows to scale.
_ROOM_BELOW = 0.06
# An arrow down: mathtext's is drawn as a dash.
_DOWN = [(-0.3, 1), (0.3, 1), (0.3, 0), (1, 0), (0, -1), (-1, 0), (-0.3, 0)]
# Candidates whose names can be told apart beside their marks.
_NAMES = 24


def save(figure: plt.Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all, with the same bytes each time."""
    with files.replacing(path) as temporary:
        figure.savefig(temporary, dpi=150, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)


def front(candidates: pd.DataFrame, chosen, deploy: dict) -> plt.Figure:
    """Test macro-F1 against p50: area is size, colour the backbone, hollow FP32, bars intervals, the front a line.

    Latency is on a logarithmic scale. A collapsed candidate would leave no room to tell the others
    apart: what is far below every FP32 stands on the lower edge, with its macro-F1 beside its name.
    What lies beyond a limit of `deploy` is shaded; limits are checked on the validation images, so
    a candidate that breaks any of them is named in gray italics, wherever it stands. Of more than
    can be read all are drawn, and the front, the pick and the collapsed ones named.
    """
    figure, axes = plt.subplots(figsize=(9, 5.5))
    backbones = list(dict.fromkeys(candidates["backbone"]))
    area = _LARGEST * candidates["megabytes"] / candidates["megabytes"].max()
    floor, _ = score_range(candidates)
    below = candidates["test_macro_f1"] < floor
    shown = candidates["test_macro_f1"].clip(lower=floor)
    for number, backbone in enumerate(backbones):
        rows = candidates[candidates["backbone"] == backbone]
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        for index, row in rows.iterrows():
            for own in rows.index[rows["variant"] == "fp32"]:
                axes.plot(
                    [rows.loc[own, "p50_ms"], row["p50_ms"]],
                    [shown[own], shown[index]],
                    color=colour,
                    linewidth=0.6,
                    linestyle=":" if below[index] else "-",
                    zorder=2,
                )
            if not below[index]:
                axes.plot(
                    [row["p50_ms"]] * 2,
                    [max(row["test_macro_f1_low"], floor), row["test_macro_f1_high"]],
                    color=colour,
                    linewidth=2.5,
                    alpha=0.35,
                    solid_capstyle="butt",
                    zorder=1.5,
                )
            axes.scatter(
                row["p50_ms"],
                shown[index],
                s=60 if below[index] else area[index],
                marker=_DOWN if below[index] else marker,
                edgecolors=colour,
                facecolors="white" if row["variant"] == "fp32" else colour,
                linewidths=1.5,
                zorder=3,
            )
        axes.scatter([], [], s=60, marker=marker, color=colour, label=backbone)
    axes.scatter([], [], s=60, facecolors="white", edgecolors="black", label="hollow: fp32")
    middle = float(f"{np.sqrt(candidates['megabytes'].min() * candidates['megabytes'].max()):.0e}")
    axes.scatter(
        [],
        [],
        s=_LARGEST * middle / candidates["megabytes"].max(),
        color="0.7",
        label=f"{middle:g} MB",
    )
    members = candidates[candidates["front"] & ~below].sort_values("p50_ms")
    axes.step(
        members["p50_ms"],
        members["test_macro_f1"],
        where="post",
        color="0.5",
        linestyle="--",
        linewidth=1,
        label="front",
        zorder=1,
    )
    radii = np.where(below, 5, np.sqrt(area) / 2)
    if chosen is not None:
        ring = (np.sqrt(area[chosen]) + 9) ** 2
        axes.scatter(
            candidates.loc[chosen, "p50_ms"],
            shown[chosen],
            s=ring,
            facecolors="none",
            edgecolors="black",
            linewidths=1.5,
            linestyles=":",
            zorder=4,
        )
        axes.scatter(
            [], [], s=90, facecolors="none", edgecolors="black", linestyles=":", label="pick"
        )
        radii[candidates.index.get_loc(chosen)] = np.sqrt(ring) / 2
    axes.set(xlabel="p50 latency (ms, logarithmic)", ylabel="test macro-F1", xscale="log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(0.12)
    shade_limits(axes, deploy)
    named = candidates["front"] | below | (candidates.index == chosen) | (len(candidates) <= _NAMES)
    texts = [
        f"{row['variant']} ({row['test_macro_f1']:.2f})" if below[index] else row["variant"]
        for index, row in candidates.iterrows()
    ]
    texts = np.where(named, texts, "").tolist()
    allowed = limits.satisfied(candidates, deploy).all(axis=1)
    place_labels(
        axes, candidates["p50_ms"].to_numpy(), shown.to_numpy(), texts, radii, allowed.to_numpy()
    )
    axes.grid(color="0.92", which="both")
    axes.set_axisbelow(True)
    axes.legend(
        fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, labelspacing=0.7
    )
    return figure


def score_range(candidates: pd.DataFrame, margin: float = 0) -> tuple[float, float]:
    """Test macro-F1 to show to scale: all but candidates that collapsed far below every FP32."""
    full = candidates.loc[candidates["variant"] == "fp32", "test_macro_f1"]
    full = full if len(full) else candidates["test_macro_f1"]
    return (
        full.min() - max(_ROOM_BELOW, full.max() - full.min()) - margin,
        candidates["test_macro_f1_high"].max() + margin,
    )


def shade_limits(axes: plt.Axes, deploy: dict) -> None:
    """Shade what lies beyond the limits of macro-F1 and of p50, as far as the figure shows it."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    style = {"facecolor": "0.5", "alpha": 0.13, "zorder": 0.5, "linewidth": 0}
    spans = []
    if deploy["min_macro_f1"] is not None and deploy["min_macro_f1"] > bottom:
        spans.append(axes.axhspan(bottom, min(deploy["min_macro_f1"], top), **style))
    if deploy["max_p50_ms"] is not None and deploy["max_p50_ms"] < right:
        spans.append(axes.axvspan(max(deploy["max_p50_ms"], left), right, **style))
    for span in spans[:1]:
        span.set_label("beyond a limit\n(checked on validation)")
    axes.set(xlim=(left, right), ylim=(bottom, top))


def place_labels(
    axes: plt.Axes,
    x: np.ndarray,
    y: np.ndarray,
    texts: list[str],
    radii: np.ndarray,
    strong: np.ndarray,
) -> None:
    """Write a label near each point where it covers no mark and no other label; a line leads to one further off.

    Parameters
    ----------
    x, y : [n] in data units
    texts : [n], empty for a point that goes without
    radii : [n] of the marks, in points
    strong : bool [n], false for a label in gray italics
    """
    axes.figure.canvas.draw()
    pixels = axes.figure.dpi / 72
    centres = axes.transData.transform(np.column_stack([x, y]))
    taken = [
        Bbox.from_extents(*(centre - radius * pixels), *(centre + radius * pixels))
        for centre, radius in zip(centres, radii, strict=True)
    ]
    for index in (each for each in np.argsort(y) if texts[each]):
        label = axes.annotate(
            texts[index],
            (x[index], y[index]),
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=8,
            va="center",
            ha="center",
            zorder=5,
            color="black" if strong[index] else "0.4",
            style="normal" if strong[index] else "italic",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.3},
            arrowprops={
                "arrowstyle": "-",
                "color": "0.4",
                "linewidth": 0.6,
                "shrinkA": 0,
                "shrinkB": radii[index],
            },
        )
        # Of the text alone: the annotation's own extent has the line in it.
        size = Text.get_window_extent(label)
        # Rings of growing distance, beside the mark before above and below it.
        away = [
            (radii[index] + 4 + 6 * ring, angle)
            for ring in range(_RINGS)
            for angle in np.radians((0, 180, 30, -30, 150, -150, 60, -60, 90, -90, 120, -120))
        ]
        for distance, angle in away:
            label.xyann = (
                np.cos(angle) * (distance + size.width / pixels / 2),
                np.sin(angle) * (distance + size.height / pixels / 2),
            )
            label.update_positions(axes.figure.canvas.get_renderer())
            box = Text.get_window_extent(label).padded(pixels)
            if (
                axes.bbox.contains(box.x0, box.y0)
                and axes.bbox.contains(box.x1, box.y1)
                and not any(box.overlaps(other) for other in taken)
            ):
                break
        label.arrow_patch.set_visible(distance > radii[index] + 10)
        taken.append(box)


def confusion(matrices: dict[str, np.ndarray], labels: list[str]) -> plt.Figure:
    """Confusion matrices side by side; rows are true classes, shares of a row as shade."""
    width = 1.5 + 0.6 * len(labels)
    figure, grid = plt.subplots(
        1, len(matrices), figsize=(width * len(matrices), width), squeeze=False
    )
    for axes, (title, matrix) in zip(grid[0], matrices.items(), strict=True):
        shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Greys", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(matrix):
            if count:
                axes.text(
                    column,
                    row,
                    count,
                    ha="center",
                    va="center",
                    fontsize=9,
                    color="white" if shares[row, column] > 0.5 else "black",
                )
        axes.set_title(title, fontsize=10)
        axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
        axes.set_yticks(range(len(labels)), labels)
        axes.set(xlabel="predicted", ylabel="true")
    figure.tight_layout()
    return figure


def history(curves: dict[str, pd.DataFrame]) -> plt.Figure:
    """Validation macro-F1 and training loss by epoch, a line a backbone."""
    figure, (loss, score) = plt.subplots(1, 2, figsize=(9, 3.2))
    for number, (backbone, rows) in enumerate(curves.items()):
        style = {
            "color": COLOURS[number % len(COLOURS)],
            "marker": MARKERS[number % len(MARKERS)],
            "markersize": 3,
            "linewidth": 1,
            "linestyle": LINES[number % len(LINES)],
        }
        loss.plot(rows["epoch"], rows["train_loss"], **style)
        score.plot(rows["epoch"], rows["val_macro_f1"], label=backbone, **style)
    loss.set(xlabel="epoch", ylabel="training loss")
    score.set(xlabel="epoch", ylabel="validation macro-F1")
    score.legend(fontsize=8)
    for axes in (loss, score):
        axes.grid(color="0.92")
    figure.tight_layout()
    return figure


def accuracy_drops(candidates: pd.DataFrame) -> plt.Figure:
    """For each INT8 candidate, its loss of test macro-F1 split in two, and the interval of the whole.

    The scale is linear up to a hundredth and logarithmic from there on, so that a collapse leaves
    room to read the others.
    """
    rows = candidates[candidates["variant"] != "fp32"].iloc[::-1]
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.36 * len(rows)))
    at = np.arange(len(rows))
    axes.barh(at + 0.18, rows["quantization_drop"], 0.34, color=COLOURS[0], label="of quantization")
    axes.barh(
        at - 0.18,
        rows["kernel_drop"],
        0.34,
        color="white",
        edgecolor=COLOURS[1],
        hatch="////",
        label="of kernels",
    )
    reach = [rows["test_drop"] - rows["test_drop_low"], rows["test_drop_high"] - rows["test_drop"]]
    axes.errorbar(
        rows["test_drop"],
        at,
        xerr=reach,
        fmt="D",
        color="black",
        markersize=3.5,
        linewidth=1.2,
        label="both, with interval",
    )
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xscale("symlog", linthresh=0.01)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_yticks(at, rows["backbone"] + "  " + rows["variant"], fontsize=8)
    axes.set_xlabel("macro-F1 lost against FP32 on the test images")
    axes.grid(color="0.92", axis="x")
    axes.set_axisbelow(True)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return figure


def latencies(samples: dict[str, np.ndarray]) -> plt.Figure:
    """Time of all queries of each candidate: the middle half as a box, whiskers from p1 to p99."""
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.3 * len(samples)))
    names = list(samples)[::-1]
    axes.boxplot(
        [samples[name] for name in names],
        orientation="horizontal",
        whis=(1, 99),
        showfliers=False,
        widths=0.6,
        medianprops={"color": COLOURS[1], "linewidth": 2},
    )
    axes.set_yticks(range(1, len(names) + 1), names, fontsize=8)
    axes.set(xlabel="milliseconds a query (logarithmic)", xscale="log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(color="0.92", axis="x", which="both")
    axes.set_axisbelow(True)
    return figure


def thumbnails(found: list[tuple[Image.Image, str]], columns: int = 4) -> plt.Figure:
    """Images in a grid, each with its caption."""
    rows = -(-len(found) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(2.2 * columns, 2.6 * rows), squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    for axes, (image, caption) in zip(grid.ravel(), found, strict=False):
        axes.imshow(image)
        axes.set_title(caption, fontsize=7)
    figure.tight_layout()
    return figure
