"""Figures of the report, in one style: legible in black and white, safe for colour-blind eyes."""

from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from beansweep import files

# Okabe and Ito (2008): distinguishable with every common colour vision.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]


def save(figure: plt.Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all, with the same bytes each time."""
    with files.replacing(path) as temporary:
        figure.savefig(temporary, dpi=150, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)


def front(candidates: pd.DataFrame, chosen: int | None) -> plt.Figure:
    """Test macro-F1 against p50: area is size, colour the backbone, hollow FP32, the front a line."""
    figure, axes = plt.subplots(figsize=(8, 5))
    backbones = list(dict.fromkeys(candidates["backbone"]))
    area = 60 + 540 * candidates["megabytes"] / candidates["megabytes"].max()
    for number, backbone in enumerate(backbones):
        rows = candidates[candidates["backbone"] == backbone]
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        float_row = rows[rows["variant"] == "fp32"].iloc[0]
        for index, row in rows.iterrows():
            axes.plot([float_row["p50_ms"], row["p50_ms"]], [float_row["test_macro_f1"], row["test_macro_f1"]],
                      color=colour, linewidth=0.8, zorder=2)
            axes.scatter(row["p50_ms"], row["test_macro_f1"], s=area[index], marker=marker, edgecolors=colour,
                         facecolors="white" if row["variant"] == "fp32" else colour, linewidths=1.5, zorder=3)
        axes.scatter([], [], s=60, marker=marker, color=colour, label=backbone)
    axes.scatter([], [], s=60, facecolors="white", edgecolors="black", label="hollow: fp32")
    members = candidates[candidates["front"]].sort_values("p50_ms")
    axes.step(members["p50_ms"], members["test_macro_f1"], where="post", color="0.5", linestyle="--",
              linewidth=1, label="front", zorder=1)
    if chosen is not None:
        row = candidates.loc[chosen]
        axes.scatter(row["p50_ms"], row["test_macro_f1"], s=area[chosen] + 350, facecolors="none",
                     edgecolors="black", linewidths=1.5, linestyles=":", label="pick", zorder=4)
    place_labels(axes, candidates["p50_ms"].to_numpy(), candidates["test_macro_f1"].to_numpy(),
                 candidates["variant"].tolist())
    axes.set(xlabel="p50 latency (ms)", ylabel="test macro-F1", xlim=(0, None))
    axes.margins(0.12)
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.legend(fontsize=8, markerscale=0.8, loc="best", framealpha=0.9)
    return figure


def place_labels(axes: plt.Axes, x: np.ndarray, y: np.ndarray, texts: list[str]) -> None:
    """Write a label beside each point, moved up or down until it covers no earlier one."""
    axes.figure.canvas.draw()
    placed = []
    for index in np.argsort(y):
        label = axes.annotate(texts[index], (x[index], y[index]), xytext=(12, 0), textcoords="offset points",
                              fontsize=8, va="center", zorder=5)
        for step in range(20):
            label.xyann = (12, (-1) ** step * 5 * ((step + 1) // 2))
            box = label.get_window_extent().expanded(1.05, 1.1)
            if not any(box.overlaps(other) for other in placed):
                break
        placed.append(label.get_window_extent())


def confusion(matrices: dict[str, np.ndarray], labels: list[str]) -> plt.Figure:
    """Confusion matrices side by side; rows are true classes, shares of a row as shade."""
    width = 1.5 + 0.6 * len(labels)
    figure, grid = plt.subplots(1, len(matrices), figsize=(width * len(matrices), width), squeeze=False)
    for axes, (title, matrix) in zip(grid[0], matrices.items(), strict=True):
        shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Greys", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(matrix):
            if count:
                axes.text(column, row, count, ha="center", va="center", fontsize=9,
                          color="white" if shares[row, column] > 0.5 else "black")
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
        style = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)],
                 "markersize": 3, "linewidth": 1}
        loss.plot(rows["epoch"], rows["train_loss"], **style)
        score.plot(rows["epoch"], rows["val_macro_f1"], label=backbone, **style)
    loss.set(xlabel="epoch", ylabel="training loss")
    score.set(xlabel="epoch", ylabel="validation macro-F1")
    score.legend(fontsize=8)
    for axes in (loss, score):
        axes.grid(color="0.92")
    figure.tight_layout()
    return figure
