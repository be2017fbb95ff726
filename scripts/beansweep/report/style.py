"""What all figures have in common: colours, marks and lines of backbones, and logarithmic axes."""

from typing import Any

import matplotlib
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

matplotlib.use("agg")
# A $ in the name of a file or class is no formula.
matplotlib.rcParams["text.parse_math"] = False

# Okabe and Ito (2008): distinguishable with every common colour vision.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
# Matplotlib's name -> plotly's name. Their number has no factor in common with that of the colours,
# so 77 backbones look different.
MARKERS = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "D": "diamond",
    "v": "triangle-down",
    "P": "cross",
    "X": "x",
    "<": "triangle-left",
    ">": "triangle-right",
    "p": "pentagon",
    "h": "hexagon",
}
LINES = ["-", "--", "-.", ":"]
# In a figure of more candidates not all are named.
NAMED = 24
# A longer legend is higher than a figure.
_ON_THE_RIGHT = 18


def colour(number: int) -> str:
    """Colour of the backbone with this number."""
    return COLOURS[number % len(COLOURS)]


def marker(number: int) -> str:
    """Matplotlib's mark of the backbone with this number."""
    return list(MARKERS)[number % len(MARKERS)]


def line(number: int) -> str:
    """Matplotlib's line style of the backbone with this number."""
    return LINES[number % len(LINES)]


def legend(figure: plt.Figure, axes: plt.Axes) -> None:
    """Explain the marks of an axes on its right, or, where they are many, below the figure."""
    handles, labels = axes.get_legend_handles_labels()
    look: dict[str, Any] = {"fontsize": 8, "frameon": False, "labelspacing": 0.7}
    if len(labels) <= _ON_THE_RIGHT:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), **look)
    else:
        figure.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=4, **look)


def logarithmic(axes: plt.Axes, label: str) -> None:
    """Make the horizontal axis logarithmic, with ticks at 1, 2 and 5."""
    axes.set(xlabel=label, xscale="log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_axisbelow(True)
