"""Figures of the report: legible in black and white, and safe for colour-blind eyes."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from PIL import Image

from beansweep.common import files, progress
from beansweep.data import preprocess
from beansweep.report import curve_figure, fonts, front_figure, style
from beansweep.report.mistakes import caption
from beansweep.report.report_data import ReportData, choice_on

# Pairs of near-duplicates and mistakes that are shown.
_PAIRS, _MISTAKES = 6, 12
# A confusion matrix of more classes is no figure that can be read: the most frequent confusions are
# shown instead, so many. The side of a matrix is in inches.
MATRIX_CLASSES, _CONFUSIONS, _MATRIX_SIDE = 30, 30, 9.0
# Pixels along a side that such an image is shown at.
_SIDE = 300
# Accuracy drops up to this one are drawn on a linear scale, and ticks where one is beyond it.
_LINEAR = 0.05
_DROP_TICKS = (-0.5, -0.2, -0.1, -0.05, -0.02, -0.01, 0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
# Candidates in a figure with a row each: more are higher than a page.
_ROWS = 60


def write(sweep: ReportData, root: Path, folder: Path) -> None:
    """Write every figure of the report as PNG.

    Parameters
    ----------
    root : folder of the images
    folder : of the figures
    """
    deploy = sweep.settings["deploy"]
    drawn = {
        "front": front_figure.draw(sweep.table, sweep.chosen, deploy),
        **rejected_good(sweep),
        "confusion": confusion(sweep.confusions, sweep.labels),
        "latencies": latencies(sweep.table, sweep.benches, sweep.together),
        "history": history(sweep.histories),
    }
    if sweep.has_int8:
        drawn["accuracy_drops"] = accuracy_drops(sweep.table)
    for device in sweep.devices:
        choice = choice_on(device, sweep)
        drawn[f"front-{device.name}"] = front_figure.draw(choice.table, choice.chosen, deploy)
    wrong = _with_names_of_figures(sweep.mistakes[sweep.subject.name].rows, sweep.labels)
    if len(wrong):
        drawn["mistakes"] = mistakes(wrong, root, sweep.settings["bits"])
    if len(sweep.leaks):
        drawn["near_duplicates"] = near_duplicates(sweep.leaks, root, sweep.settings["bits"])
    for name, figure in drawn.items():
        save(figure, folder / f"{name}.png")


def rejected_good(sweep: ReportData) -> dict[str, plt.Figure]:
    """Name -> figures of good ones rejected; none where no class is a defect."""
    if not sweep.choice.has_defects:
        return {}
    deploy, shown = sweep.settings["deploy"], front_figure.REJECTED_GOOD
    return {
        "front_rejected": front_figure.draw(sweep.table, sweep.chosen, deploy, shown),
        "curves": curve_figure.draw(sweep.candidates, curve_figure.compared(sweep)),
    }


def _with_names_of_figures(rows: pd.DataFrame, labels: list[str]) -> pd.DataFrame:
    """Mistakes with the names that figures have for classes; says which classes are numbered."""
    names = fonts.names(labels)
    numbered = [label for label in labels if names[label] != label]
    if numbered:
        progress.say(
            f"report: figures call {len(numbered)} class(es) by number, such as {numbered[0]}: the "
            "name is long, or no installed font has its letters (Noto fonts have most)"
        )
    return rows.assign(**{key: rows[key].map(names) for key in ("class", "predicted")})


def save(figure: plt.Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all, with the same bytes each time."""
    with files.replacing(path) as temporary:
        figure.savefig(temporary, dpi=150, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)


def confusion(matrices: dict[str, np.ndarray], labels: list[str]) -> plt.Figure:
    """Confusion matrices side by side; of many classes, the most frequent confusions alone.

    Parameters
    ----------
    matrices : title -> int [classes, classes], a row a true class
    labels : class names
    """
    names = list(fonts.names(labels).values())
    if len(labels) > MATRIX_CLASSES:
        return _worst_confusions(matrices, names)
    side = min(0.6 * len(labels), _MATRIX_SIDE)
    figure, grid = plt.subplots(
        1, len(matrices), figsize=((1.5 + side) * len(matrices), 1.5 + side), squeeze=False
    )
    for axes, (title, matrix) in zip(grid[0], matrices.items(), strict=True):
        _draw_matrix(axes, matrix, names, min(9, 24 * side / len(labels)))
        axes.set_title(title, fontsize=10)
    figure.tight_layout()
    return figure


def _draw_matrix(axes: plt.Axes, matrix: np.ndarray, names: list[str], points: float) -> None:
    """Draw a confusion matrix; shades are shares of a row.

    Parameters
    ----------
    matrix : int [classes, classes]
    names : of the classes
    points : size of the letters
    """
    shares = _shares(matrix)
    axes.imshow(shares, cmap="Greys", vmin=0, vmax=1)
    for row, column in np.argwhere(matrix):
        colour = "white" if shares[row, column] > 0.5 else "black"
        place: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": points}
        axes.text(column, row, matrix[row, column], color=colour, **place)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=points)
    axes.set_yticks(range(len(names)), names, fontsize=points)
    axes.set(xlabel="predicted", ylabel="true")


def _shares(matrix: np.ndarray) -> np.ndarray:
    """A confusion matrix as shares of the images of each true class: float [classes, classes]."""
    return matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)


def _worst_confusions(matrices: dict[str, np.ndarray], names: list[str]) -> plt.Figure:
    """The confusions with most images, a bar each, side by side.

    Parameters
    ----------
    matrices : title -> int [classes, classes]
    names : of the classes
    """
    figure, grid = plt.subplots(
        1, len(matrices), figsize=(6 * len(matrices), 1.2 + 0.22 * _CONFUSIONS), squeeze=False
    )
    for axes, (title, matrix) in zip(grid[0], matrices.items(), strict=True):
        wrong = np.where(np.eye(len(matrix), dtype=bool), 0, matrix)
        order = np.argsort(-wrong, axis=None, kind="stable")[:_CONFUSIONS]
        pairs = [divmod(int(place), len(matrix)) for place in order if wrong.flat[place]][::-1]
        counts = [int(wrong[pair]) for pair in pairs]
        bars = axes.barh(range(len(pairs)), counts, color=style.COLOURS[0])
        shares = _shares(matrix)
        axes.bar_label(bars, [f"{shares[pair]:.0%}" for pair in pairs], fontsize=7, padding=2)
        words = [f"{names[true]} as {names[predicted]}" for true, predicted in pairs]
        axes.set_yticks(range(len(pairs)), words, fontsize=7)
        axes.set(xlabel="test images (share of the true class)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title(title, fontsize=10)
    figure.tight_layout()
    return figure


def history(histories: dict[str, pd.DataFrame]) -> plt.Figure:
    """Validation macro-F1 and training loss by epoch, a line a backbone."""
    figure, (loss, score) = plt.subplots(1, 2, figsize=(9, 3.2))
    for number, (backbone, rows) in enumerate(histories.items()):
        look = {
            "color": style.colour(number),
            "marker": style.marker(number),
            "linestyle": style.line(number),
            "markersize": 3,
            "linewidth": 1,
        }
        loss.plot(rows["epoch"], rows["train_loss"], **look)
        score.plot(rows["epoch"], rows["val_macro_f1"], label=backbone, **look)
    loss.set(xlabel="epoch", ylabel="training loss")
    score.set(xlabel="epoch", ylabel="validation macro-F1")
    for axes in (loss, score):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(color="0.92")
    figure.tight_layout()
    style.legend(figure, score)
    return figure


def accuracy_drops(candidates: pd.DataFrame) -> plt.Figure:
    """The accuracy drop of each INT8 candidate split in two, and the interval of the whole drop.

    The scale is linear. Where an end lies far off, it is logarithmic from a hundredth on, so that a
    collapse leaves room to read the others. Of many candidates the largest drops are shown.
    """
    rows = candidates[candidates["variant"] != "fp32"].iloc[::-1]
    count = len(rows)
    if count > _ROWS:
        rows = rows[rows["test_drop"].rank(method="first", ascending=False) <= _ROWS]
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.36 * len(rows)))
    if len(rows) < count:
        axes.set_title(f"the {_ROWS} largest drops of {count}", fontsize=9)
    at, drop = np.arange(len(rows)), rows["test_drop"]
    hatched: dict[str, Any] = {"color": "white", "edgecolor": style.COLOURS[1], "hatch": "////"}
    axes.barh(
        at + 0.18,
        rows["quantization_drop"],
        0.34,
        color=style.COLOURS[0],
        label="from quantization",
    )
    axes.barh(at - 0.18, rows["kernel_drop"], 0.34, label="from kernels", **hatched)
    axes.errorbar(
        drop,
        at,
        xerr=[drop - rows["test_drop_low"], rows["test_drop_high"] - drop],
        fmt="D",
        color="black",
        markersize=3.5,
        linewidth=1.2,
        label="both, with interval",
    )
    axes.axvline(0, color="black", linewidth=0.8)
    label = "accuracy drop: test macro-F1 of FP32 minus that of INT8"
    ends = rows[["quantization_drop", "kernel_drop", "test_drop_low", "test_drop_high"]]
    if ends.abs().to_numpy().max() > _LINEAR:
        axes.set_xscale("symlog", linthresh=0.01)
        low, high = axes.get_xlim()
        axes.set_xticks([tick for tick in _DROP_TICKS if low <= tick <= high])
        label += "\n(logarithmic beyond ±0.01)"
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_yticks(at, rows["backbone"] + "  " + rows["variant"], fontsize=8)
    axes.set_xlabel(label)
    axes.grid(color="0.92", axis="x")
    axes.set_axisbelow(True)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return figure


def latencies(candidates: pd.DataFrame, benches: dict[str, dict], together: dict) -> plt.Figure:
    """Latency of all queries: the middle half as a box, whiskers from p1 to p99.

    Of many candidates the fastest are shown. Times are on the scale of the tables: see
    `analysis.finalists.set_times`.

    Parameters
    ----------
    candidates : the table of candidates
    benches : backbone -> contents of its latency.json
    together : contents of finalists.json
    """
    samples = {}
    for name, row in candidates.iterrows():
        backbone, variant = row["backbone"], row["variant"]
        timed = benches[backbone]["variants"][variant]
        if row["timed_together"]:
            timed = together["candidates"][name]
        samples[f"{backbone}  {variant}"] = np.ravel(timed["samples_ms"]) * row["time_scale"]
    fastest = sorted(samples, key=lambda name: np.median(samples[name]))[:_ROWS]
    names = [name for name in samples if name in fastest][::-1]
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.3 * len(names)))
    if len(names) < len(samples):
        axes.set_title(f"the {_ROWS} fastest of {len(samples)}", fontsize=9)
    axes.boxplot(
        [samples[name] for name in names],
        orientation="horizontal",
        whis=(1, 99),
        showfliers=False,
        widths=0.6,
        medianprops={"color": style.COLOURS[1], "linewidth": 2},
    )
    axes.set_yticks(range(1, len(names) + 1), names, fontsize=8)
    style.logarithmic(axes, "milliseconds a query (logarithmic)")
    axes.grid(color="0.92", axis="x", which="both")
    return figure


def mistakes(rows: pd.DataFrame, root: Path, bits: int | None) -> plt.Figure:
    """The most telling mistakes.

    Parameters
    ----------
    rows : of a candidate's `Mistakes`
    root : folder of the images
    bits : dataset.bits
    """
    shown = []
    for _, row in rows.head(_MISTAKES).iterrows():
        image = preprocess.read(root / row["path"], _SIDE, bits)
        shown.append((image, caption(row).replace(", ", "\n", 1)))
    return thumbnails(shown, columns=4)


def near_duplicates(pairs: pd.DataFrame, root: Path, bits: int | None) -> plt.Figure:
    """Pairs of near-duplicates in two splits, a row a pair.

    Parameters
    ----------
    root : folder of the images
    bits : dataset.bits
    """
    shown = []
    for _, pair in pairs.head(_PAIRS).iterrows():
        for end in ("first", "second"):
            path, split = pair[f"{end}_path"], pair[f"{end}_split"]
            image = preprocess.read(root / path, _SIDE, bits)
            shown.append((image, f"{split}\n{path}"))
    return thumbnails(shown, columns=2)


def thumbnails(shown: list[tuple[Image.Image, str]], columns: int) -> plt.Figure:
    """Images in a grid, each with its caption."""
    missing = fonts.choose(title for _, title in shown)
    rows = -(-len(shown) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(2.2 * columns, 2.6 * rows), squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    for axes, (image, title) in zip(grid.ravel(), shown, strict=False):
        image.thumbnail((_SIDE, _SIDE))
        axes.imshow(image)
        axes.set_title(fonts.drawable(title, missing), fontsize=7)
    figure.tight_layout()
    return figure
