"""The table of candidates."""

import pandas as pd
import synthetic
from beansweep.analysis import candidates, pick
from beansweep.common import files

NO_LIMITS = {**dict.fromkeys(synthetic.CONFIG["deploy"]), "objective": "p50_ms"}
BACKBONE = "mobilenet_v3_small"
NOTHING_MOVED = {"weights": 1, "weights_moved": 0, "biases": 1, "biases_moved": 0}


def read(folder, variants, good_classes=synthetic.GOOD):
    return candidates.table(
        folder / "results", [BACKBONE], variants, good_classes, synthetic.CONFIG["report"]
    )


def test_a_variant_that_equals_its_base_is_no_rival_of_it(tmp_path):
    """Both were timed, and the same file is never faster than itself."""
    variants = ["fp32", "int8_static", "int8_ort_default"]
    synthetic.write(tmp_path, [BACKBONE], variants, images=8)
    folder = tmp_path / "results" / BACKBONE
    for kind in ("predictions", "float_kernels"):
        base = (folder / kind / "int8_static.csv").read_bytes()
        (folder / kind / "int8_ort_default.csv").write_bytes(base)
    trained = {
        "quantizer": "qat",
        "base": "int8_static",
        "weight_type": "QInt8",
        "reduce_range": True,
        "chosen_epoch": 0,
        "trials": [{"kl": 0.01, "macro_f1": 0.9, **NOTHING_MOVED}],
    }
    tables = []
    for equal in (False, True):
        recipe = {**trained, "equals_base": equal}
        files.write_json(folder / "int8_ort_default.json", {"recipe": recipe})
        tables.append(read(tmp_path, variants))
    slower, twin = (table.loc[f"{BACKBONE}:int8_ort_default"] for table in tables)
    base = tables[1].loc[f"{BACKBONE}:int8_static"]
    assert slower["p50_ms"] > base["p50_ms"]
    assert slower["dominated_by"] == [f"{BACKBONE}:int8_static"]
    for column in ("p50_ms", "speedup", "megabytes", "dominated_by"):
        assert twin[column] == base[column]
    assert pick.choose(tables[1], NO_LIMITS) == base.name


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


def test_variants_that_a_backbone_cannot_have_are_no_candidates(tmp_path):
    variants, others = ["fp32", "int8_static", "int8_dynamic"], [BACKBONE, "resnet18"]
    synthetic.write(tmp_path, others, variants, images=8)
    results = tmp_path / "results"
    files.write_json(results / BACKBONE / "int8_static.json", {"unavailable": "no kernel"})
    (results / BACKBONE / "predictions/int8_static.csv").write_text("path,split\n")
    left_out = {"resnet18": ["int8_dynamic"]}
    without = candidates.unavailable(results, others, variants, left_out)
    assert without == {
        (BACKBONE, "int8_static"): "no kernel",
        ("resnet18", "int8_dynamic"): "taken out in overrides",
    }
    table = candidates.table(
        results, others, variants, synthetic.GOOD, synthetic.CONFIG["report"], without=without
    )
    assert table.index.tolist() == [
        f"{BACKBONE}:fp32",
        f"{BACKBONE}:int8_dynamic",
        "resnet18:fp32",
        "resnet18:int8_static",
    ]
