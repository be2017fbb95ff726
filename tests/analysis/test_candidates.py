"""The table of candidates."""

import pandas as pd
import synthetic
from beansweep.analysis import candidates

BACKBONE = "mobilenet_v3_small"


def read(folder, variants, good_classes=synthetic.GOOD):
    return candidates.table(
        folder / "results", [BACKBONE], variants, good_classes, synthetic.CONFIG["report"]
    )


def test_any_name_of_a_class_is_a_name(tmp_path):
    """A column named after such a class ends like one that holds a list of candidates."""
    variants = ["fp32", "int8_static"]
    synthetic.write(tmp_path, [BACKBONE], variants, images=8)
    for file in (tmp_path / "results" / BACKBONE).glob("*/*.csv"):
        text = file.read_text().replace("mold", "eaten_by").replace("sour", "more_than")
        file.write_text(text)
    found = read(tmp_path, variants)
    candidates.write(found, tmp_path / "pareto.csv")
    written = pd.read_csv(tmp_path / "pareto.csv")
    for column in ("test_recall_eaten_by", "test_recall_high_more_than"):
        assert written[column].between(0, 1).all()
        assert written[column].max() > 0


def test_lists_of_names_are_written_with_spaces_between_them(tmp_path):
    variants = ["fp32", "int8_static"]
    synthetic.write(tmp_path, [BACKBONE], variants, images=8)
    table = read(tmp_path, variants)
    holds_lists = table.map(lambda value: isinstance(value, list)).any()
    assert set(table.columns[holds_lists]) == set(candidates.LIST_COLUMNS)
    table.at[table.index[0], "test_beaten_by"] = ["one:fp32", "other:fp32"]
    candidates.write(table, tmp_path / "pareto.csv")
    assert pd.read_csv(tmp_path / "pareto.csv")["test_beaten_by"][0] == "one:fp32 other:fp32"
