"""Reading the manifest."""

import pandas as pd
from beansweep.data import manifest


def test_names_that_look_like_numbers_or_gaps_stay_names(tmp_path):
    rows = pd.DataFrame({"path": ["1", "NA/2"], "split": ["train"] * 2, "class": ["1", "NA"]})
    rows.to_csv(tmp_path / "manifest.csv", index=False)
    found = manifest.read(tmp_path / "manifest.csv")
    assert found["path"].tolist() == ["1", "NA/2"]
    assert manifest.labels(found) == ["1", "NA"]
    some = manifest.read(tmp_path / "manifest.csv", ["class", "path"])
    pd.testing.assert_frame_equal(some, found[["path", "class"]])


def test_a_draw_of_one_split_follows_from_its_seed():
    rows = pd.DataFrame({"path": list("abcdefghijklmnopqrst"), "split": "train"})
    rows.loc[:9, "split"] = "val"
    in_order = manifest.paths(rows, "val")
    assert in_order == list("abcdefghij")
    drawn = manifest.paths(rows, "val", limit=4, seed=1)
    assert drawn == manifest.paths(rows, "val", seed=1)[:4]
    assert set(drawn) < set(in_order)
    assert manifest.paths(rows, "val", seed=2) != manifest.paths(rows, "val", seed=1)


def test_a_stratified_draw_keeps_every_class_and_its_share_in_each_split():
    counts = {("val", "a"): 60, ("val", "b"): 28, ("val", "c"): 2, ("test", "a"): 5}
    keys = [key for key, count in counts.items() for _ in range(count)]
    rows = pd.DataFrame(keys, columns=["split", "class"]).assign(path=list(map(str, range(95))))
    drawn = manifest.stratified(rows, 30)
    found = drawn.groupby(["split", "class"]).size().to_dict()
    assert found == {("val", "a"): 20, ("val", "b"): 9, ("val", "c"): 1, ("test", "a"): 5}
    assert drawn.index.is_monotonic_increasing
    assert drawn["path"].tolist() == manifest.stratified(rows, 30)["path"].tolist()
    assert set(manifest.stratified(rows, 3)["class"]) == {"a", "b", "c"}
    assert manifest.stratified(rows, None) is rows


def test_classes_with_few_held_out_images_are_named_with_their_number():
    splits = ["train"] * 3 + ["val"] * 3 + ["test"] * 20
    labels = ["a", "b", "b", "a", "b", "b"] + ["a"] * 10 + ["b"] * 10
    rows = pd.DataFrame({"split": splits, "class": labels})
    assert manifest.small_classes(rows) == ["1 of 'a' in val", "2 of 'b' in val"]
