"""The tables of the report hold the figures that they are given."""

import pandas as pd
from beansweep.report import tables


def bench(threads):
    """What the table of threads reads of a latency.json."""
    times = {count: {"fp32": 2 / int(count), "int8": 1 / int(count)} for count in threads}
    return {"variants": {"fp32": {}, "int8": {}}, "by_threads": times}


def test_threads_are_a_table_where_there_are_several():
    assert tables.threads({"net": bench(["1"])}) == ""
    text = tables.threads({"net": bench(["1", "2"])})
    assert "| `net` | `int8` | 1.000 | 0.500 |" in text


def test_seeds_are_next_to_the_sampling_interval():
    candidates = pd.DataFrame(
        {"test_macro_f1_low": [0.88], "test_macro_f1_high": [0.92]}, index=["net:fp32"]
    )
    text = tables.seeds({"net": [0.9, 0.88, 0.92]}, candidates)
    assert "| `net` | 0.900, 0.880, 0.920 | 0.900 | 0.020 | 0.020 |" in text


def test_of_many_candidates_that_dominate_one_the_first_are_named():
    few = pd.Series({"dominated_by": ["a:fp32", "b:fp32"]})
    assert tables.dominated(few) == "dominated by `a:fp32` `b:fp32`"
    many = pd.Series({"dominated_by": ["a", "b", "c", "d", "e"]})
    assert tables.dominated(many) == "dominated by `a` `b` `c` and 2 more"


def test_classes_are_named_good_or_defect():
    figures = ("precision", "f1", "recall", "recall_low", "recall_high")
    row = pd.Series({f"test_{figure}_{label}": 0.5 for figure in figures for label in "ab"})
    text = tables.classes(row, {"a": 3, "b": 4}, ["b"])
    assert "| `a` | defect | 3 | 0.500 | 0.500 | 0.500 | 0.500 to 0.500 |" in text
    assert "| `b` | good | 4 |" in text


def test_a_variant_without_a_shown_drop_has_no_finding_as_if_it_lost():
    words = "`stem` is the layer most sensitive to 8 bits; slower than FP32"
    row = pd.Series({"test_drop_low": -0.001, "finding": words})
    assert tables.finding(row) == (
        "these images show no drop; most sensitive layer: `stem`; slower than FP32"
    )
    row["test_drop_low"] = 0.001
    assert tables.finding(row) == words
