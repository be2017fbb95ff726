"""Markdown is what a reader of Markdown takes for a table and an interval."""

import pandas as pd
from beansweep.common.words import counted
from beansweep.report import markdown


def test_a_table_aligns_numbers_to_the_right():
    assert markdown.table(["name", "ms"], [["a", "1"], ["b", "2"]], 1) == (
        "| name | ms |\n| --- | --: |\n| a | 1 |\n| b | 2 |"
    )


def test_an_interval_has_its_ends_before_the_unit_where_it_is_marked():
    row = pd.Series({"f1": 0.5, "f1_low": 0.4, "f1_high": 0.6})
    assert markdown.interval(row, "f1", "{:.2f}") == "0.40 to 0.60"
    assert markdown.with_interval(row, "f1", "{:.1%}") == "50.0% (40.0% to 60.0%)"
    row = pd.Series({"p50_ms": 2, "p50_low_ms": 1, "p50_high_ms": 3})
    assert markdown.with_interval(row, "p50@_ms", "{:.0f}") == "2 (1 to 3)"


def test_paragraphs_leave_out_empty_texts():
    assert markdown.paragraphs("one", "", "two") == "one\n\ntwo"


def test_a_name_has_the_variants_that_are_the_same_file():
    row = pd.Series({"backbone": "net", "variant": "int8", "also": ["int8_mixed", "int8_qat"]})
    assert markdown.name(row) == "`net` `int8` (also `int8_mixed`, `int8_qat`)"
    row["also"] = []
    assert markdown.name(row) == "`net` `int8`"


def test_one_thing_is_no_plural_and_a_rounded_zero_has_no_sign():
    assert counted(1, "pairs of beans") == "1 pair of beans"
    assert counted(2, "pairs of beans") == "2 pairs of beans"
    assert counted(0, "images") == "no images"
    written = [markdown.figure(number, "{:+.3f}") for number in (-0.0004, 0.0, 0.001, -0.001)]
    assert written == ["0.000", "0.000", "+0.001", "-0.001"]
