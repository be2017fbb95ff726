"""The table of candidates."""

import pandas as pd
import synthetic
from beansweep.analysis import candidates, pick
from beansweep.common import files

NO_LIMITS = synthetic.NO_LIMITS
BACKBONE = "mobilenet_v3_small"


def read(folder, variants, good_classes=synthetic.GOOD, deploy=NO_LIMITS, **options):
    return candidates.read(
        folder / "results",
        [BACKBONE],
        variants,
        good_classes,
        deploy,
        synthetic.CONFIG["report"],
        **options,
    )


def copy(folder, source, variant):
    """Make one variant a copy of another."""
    for kind in ("predictions", "float_kernels"):
        (folder / kind / f"{variant}.csv").write_bytes(
            (folder / kind / f"{source}.csv").read_bytes()
        )
    (folder / f"{variant}.json").write_bytes((folder / f"{source}.json").read_bytes())


def test_files_that_are_the_same_to_the_byte_are_one_candidate_with_several_names(tmp_path):
    variants = ["fp32", "int8_static", "int8_ort_default", "int8_dynamic"]
    synthetic.write(tmp_path, [BACKBONE], variants, images=8)
    folder = tmp_path / "results" / BACKBONE
    copy(folder, "int8_static", "int8_ort_default")
    table = read(tmp_path, variants, baselines=["int8_ort_default", "int8_dynamic"]).table
    names = [f"{BACKBONE}:{name}" for name in ("fp32", "int8_static", "int8_dynamic")]
    assert table.index.tolist() == names
    assert table["also"].tolist() == [[], ["int8_ort_default"], []]
    # What a baseline shares with another variant is no mere baseline.
    assert table["baseline"].tolist() == [False, False, True]


def test_a_file_has_the_name_of_the_variant_that_others_start_from(tmp_path):
    variants = ["fp32", "int8_dynamic", "int8_static"]
    synthetic.write(tmp_path, [BACKBONE], variants, images=8)
    folder = tmp_path / "results" / BACKBONE
    copy(folder, "int8_static", "int8_dynamic")
    metadata = files.read_json(folder / "int8_dynamic.json")
    recipe = {**metadata["recipe"], "base": "int8_static"}
    files.write_json(folder / "int8_dynamic.json", {**metadata, "recipe": recipe})
    table = read(tmp_path, variants).table
    assert table["variant"].tolist() == ["fp32", "int8_static"]
    assert table["also"].tolist() == [[], ["int8_dynamic"]]


def test_each_operating_point_keeps_the_limit_on_the_validation_images(tmp_path):
    synthetic.write(tmp_path, [BACKBONE], ["fp32", "int8_static"], images=30)
    rejected = []
    for limit in (0.02, 0.08, 0.3):
        deploy = {**NO_LIMITS, "max_missed_defect_rate": limit}
        found = read(tmp_path, ["fp32", "int8_static"], deploy=deploy)
        row = found.table.iloc[0]
        images = found.images["val"]
        below = images.scores[0] < row["ship_below"]
        assert row["val_missed_defect_count"] == below[images.defects].sum()
        assert row["val_rejected_good_count"] == (~below)[~images.defects].sum()
        assert row["val_missed_defect_rate_high"] <= limit
        assert row["val_missed_defect_rate_at_fp32"] == row["val_missed_defect_rate"]
        rejected.append(row["val_rejected_good_rate"])
    assert rejected == sorted(rejected, reverse=True)
    assert rejected[0] > rejected[2]
    # The same table under another limit is that of a sweep with this limit.
    again = found.under({**NO_LIMITS, "max_missed_defect_rate": 0.08})
    first = read(
        tmp_path, ["fp32", "int8_static"], deploy={**NO_LIMITS, "max_missed_defect_rate": 0.08}
    )
    pd.testing.assert_frame_equal(again, first.table)


def test_images_that_are_set_aside_for_the_pick_take_the_place_of_the_validation_images(tmp_path):
    synthetic.write(tmp_path, [BACKBONE], ["fp32"], images=8)
    path = tmp_path / "results" / BACKBONE / "predictions/fp32.csv"
    table = pd.read_csv(path)
    aside = table["path"].str.contains(r"val/.*/[0-2]\.jpg")
    table.loc[aside, "split"] = "pick"
    table.to_csv(path, index=False)
    found = read(tmp_path, ["fp32"])
    assert len(found.images["val"].true) == aside.sum() == 18
    assert len(found.images["test"].true) == 48


def test_near_duplicates_among_the_defects_count_once(tmp_path):
    synthetic.write(tmp_path, [BACKBONE], ["fp32"], images=8)
    alone = read(tmp_path, ["fp32"]).table["val_defects"].iloc[0]
    paths = [f"val/{label}/{index}.jpg" for label, index in (("mold", 0), ("mold", 1), ("sour", 2))]
    manifest = pd.read_csv(tmp_path / "results/dataset/manifest.csv")
    groups = pd.Series(range(len(manifest)), manifest["path"])
    groups[paths] = 0
    joined = read(tmp_path, ["fp32"], groups=groups)
    assert joined.table["val_defects"].iloc[0] == alone - 2
    assert joined.table["test_defects"].iloc[0] == alone


def test_where_no_class_is_good_nothing_is_shipped_or_rejected(tmp_path):
    synthetic.write(tmp_path, [BACKBONE], ["fp32", "int8_static"], images=8)
    found = read(tmp_path, ["fp32", "int8_static"], good_classes=None).table
    for column in ("ship_below", "val_rejected_good_rate", "test_missed_defect_rate"):
        assert found[column].isna().all()
    assert pick.choose(found, NO_LIMITS) == f"{BACKBONE}:int8_static"


def test_any_name_of_a_class_is_a_name(tmp_path):
    """A column named after such a class ends like one that holds a list of candidates."""
    variants = ["fp32", "int8_static"]
    synthetic.write(tmp_path, [BACKBONE], variants, images=8)
    for file in (tmp_path / "results" / BACKBONE).glob("*/*.csv"):
        text = file.read_text().replace("mold", "eaten_by").replace("sour", "more_than")
        file.write_text(text)
    found = read(tmp_path, variants).table
    candidates.write(found, tmp_path / "pareto.csv")
    written = pd.read_csv(tmp_path / "pareto.csv")
    for column in ("test_recall_eaten_by", "test_recall_high_more_than"):
        assert written[column].between(0, 1).all()
        assert written[column].max() > 0


def test_lists_of_names_are_written_with_spaces_between_them(tmp_path):
    variants = ["fp32", "int8_static"]
    synthetic.write(tmp_path, [BACKBONE], variants, images=8)
    table = read(tmp_path, variants).table
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
    found = candidates.read(
        results,
        others,
        variants,
        synthetic.GOOD,
        NO_LIMITS,
        synthetic.CONFIG["report"],
        left_out=left_out,
    )
    assert found.unavailable == {
        (BACKBONE, "int8_static"): "no kernel",
        ("resnet18", "int8_dynamic"): "taken out in overrides",
    }
    assert found.table.index.tolist() == [
        f"{BACKBONE}:fp32",
        f"{BACKBONE}:int8_dynamic",
        "resnet18:fp32",
        "resnet18:int8_static",
    ]
