"""The figure of good ones rejected against defects missed."""

import numpy as np
import pandas as pd
from beansweep.analysis.candidates import Candidates
from beansweep.analysis.image_set import ImageSet
from beansweep.report import curve_figure

NAMES = ["net:fp32", "net:int8"]


def sweep(limit):
    """Two candidates and four images, the last two of which are good."""
    scores = np.array([[0.9, 0.4, 0.5, 0.1], [0.9, 0.6, 0.5, 0.1]])
    images = ImageSet(
        labels=["bad", "good"],
        true=np.array([0, 0, 1, 1]),
        predicted=np.zeros((2, 4), int),
        scores=scores,
        is_defect=np.array([True, False]),
        group=np.arange(4),
    )
    table = pd.DataFrame({"backbone": "net", "variant": ["fp32", "int8"]}, index=NAMES)
    for end, values in {"": [0.5, 0], "_low": [0.2, 0], "_high": [0.8, 0.3]}.items():
        table[f"test_missed_defect_rate{end}"] = values
        table[f"test_rejected_good_rate{end}"] = values
    return Candidates(table, {"test": images}, {}, {"max_missed_defect_rate": limit}, {})


def test_each_curve_goes_through_what_its_thresholds_miss_and_reject():
    axes = curve_figure.draw(sweep(0.3), NAMES).axes[0]
    curves = {line.get_label(): line for line in axes.lines if "net" in str(line.get_label())}
    fp32, int8 = curves["net  fp32"], curves["net  int8"]
    assert list(zip(fp32.get_xdata(), fp32.get_ydata(), strict=True)) == [
        (0, 0.5),
        (0.5, 0),
        (1, 0),
    ]
    assert set(int8.get_ydata()) == {0}
    assert fp32.get_linestyle() != int8.get_linestyle()


def test_the_limit_is_shaded_where_there_is_one():
    def legend(limit):
        figure = curve_figure.draw(sweep(limit), NAMES)
        return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]

    assert "beyond the limit" in legend(0.3)
    assert "beyond the limit" not in legend(None)
