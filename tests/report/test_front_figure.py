"""What the figure of the front has to show, and that it can be read."""

import itertools

import numpy as np
import pandas as pd
import pytest
from beansweep.analysis import front
from beansweep.report import front_figure
from matplotlib.text import Annotation, Text

LIMITS = {
    "min_macro_f1": 0.85,
    "max_missed_defect_rate": 0.1,
    "max_rejected_good_rate": 0.2,
    "max_megabytes": None,
    "max_p50_ms": 10,
    "objective": "p50_ms",
}
VARIANTS = ["fp32", "int8_ort_default", "int8_static", "int8_weight_only", "int8_dynamic"]


def candidates(backbones: int, variants: list[str]) -> pd.DataFrame:
    """Candidates at random, as crowded as those of a sweep."""
    rng = np.random.default_rng(0)
    slowness = dict(zip(VARIANTS, (1, 0.8, 0.6, 0.98, 5), strict=True))
    rows = []
    for number, variant in itertools.product(range(backbones), variants):
        row = {"backbone": f"net{number}", "variant": variant}
        row["p50_ms"] = 0.5 * 2**number * slowness[variant]
        row["megabytes"] = 4.0 * 2**number * (1 if variant == "fp32" else 0.25)
        rows.append(row)
    rows = pd.DataFrame(rows)
    rows["test_macro_f1"] = rng.uniform(0.88, 0.95, len(rows))
    rows["test_macro_f1_low"] = rows["test_macro_f1"] - 0.02
    rows["test_macro_f1_high"] = rows["test_macro_f1"] + 0.02
    rows["test_rejected_good_rate"] = rng.uniform(0.1, 0.3, len(rows))
    rows["test_rejected_good_rate_low"] = rows["test_rejected_good_rate"] - 0.05
    rows["test_rejected_good_rate_high"] = rows["test_rejected_good_rate"] + 0.05
    slow = rows["p50_ms"] > LIMITS["max_p50_ms"]
    rows["timed_elsewhere"] = False
    rows["obstacles"] = np.where(slow, "max_p50_ms", "")
    return rows


def members(table, gain):
    """Which candidates are on the front of a figure and p50."""
    dominators = front.dominators(gain.to_numpy(), table["p50_ms"].to_numpy())
    return pd.Series([not others for others in dominators], table.index)


def labels(figure):
    return [child for child in figure.axes[0].get_children() if isinstance(child, Annotation)]


@pytest.mark.parametrize(
    ("backbones", "variants"), [(1, VARIANTS[:3]), (4, VARIANTS), (8, VARIANTS[:3])]
)
def test_every_candidate_of_the_front_is_named_and_no_two_names_collide(backbones, variants):
    table = candidates(backbones, variants)
    figure = front_figure.draw(table, 0, LIMITS)
    names = labels(figure)
    from_below = table.sort_values("test_macro_f1")
    assert [name.get_text() for name in names] == from_below["variant"].tolist()
    figure.canvas.draw()
    boxes = [Text.get_window_extent(name) for name in names]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    for box in boxes:
        assert figure.axes[0].bbox.contains(box.x0, box.y0)
        assert figure.axes[0].bbox.contains(box.x1, box.y1)


def test_of_more_candidates_than_can_be_read_the_front_and_the_pick_are_named():
    table = candidates(8, VARIANTS)
    best = members(table, table["test_macro_f1"])
    chosen = table.index[~best][0]
    named = labels(front_figure.draw(table, chosen, LIMITS))
    expected = table.loc[best | (table.index == chosen), "p50_ms"]
    assert {name.xy[0] for name in named} == set(expected)
    assert 1 < len(named) == len(expected) < len(table) / 2


def test_the_area_of_a_mark_is_the_size_of_the_file():
    table = candidates(2, VARIANTS[:3])
    area = {}
    for mark in front_figure.draw(table, None, LIMITS).axes[0].collections:
        if len(mark.get_offsets()):
            area[float(mark.get_offsets()[0][0])] = mark.get_sizes()[0]
    ratios = table["p50_ms"].map(area) / table["megabytes"]
    assert ratios.tolist() == pytest.approx([ratios[0]] * len(table))


def test_what_may_not_be_picked_is_named_in_italics_and_regions_beyond_limits_are_shaded():
    table = candidates(4, VARIANTS)
    figure = front_figure.draw(table, None, LIMITS)
    italics = sum(name.get_style() == "italic" for name in labels(figure))
    assert 0 < italics == (table["obstacles"] != "").sum() < len(table)
    assert "beyond a limit" in legend(figure)
    free = front_figure.draw(table, None, {**LIMITS, "min_macro_f1": None, "max_p50_ms": None})
    assert "beyond a limit" not in legend(free)


def legend(figure):
    return "\n".join(text.get_text() for text in figure.axes[0].get_legend().get_texts())


def test_a_collapsed_candidate_is_an_arrow_on_the_lower_edge_with_its_macro_f1():
    table = candidates(4, VARIANTS)
    table.loc[2, ["test_macro_f1", "test_macro_f1_low", "test_macro_f1_high"]] = 0.1, 0.05, 0.15
    figure = front_figure.draw(table, None, LIMITS)
    assert figure.axes[0].get_ylim()[0] > 0.5
    floor, _ = front_figure.scale(table)
    lowest = labels(figure)[0]
    assert lowest.get_text() == "int8_static (0.1)"
    assert lowest.xy[1] == floor


def test_the_front_of_good_ones_rejected_has_the_fewest_at_the_top():
    table = candidates(8, VARIANTS)
    figure = front_figure.draw(table, None, LIMITS, front_figure.REJECTED_GOOD)
    expected = members(table, -table["test_rejected_good_rate"])
    (steps,) = [line for line in figure.axes[0].lines if line.get_label() == "front"]
    assert sorted(steps.get_xdata()) == sorted(table.loc[expected, "p50_ms"])
    assert max(steps.get_ydata()) == -table["test_rejected_good_rate"].min()
    figure.canvas.draw()
    ticks = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    shares = [float(tick.removesuffix("%")) for tick in ticks if float(tick[:-1]) >= 0]
    assert shares == sorted(shares, reverse=True)
    assert "beyond a limit" in legend(figure)
