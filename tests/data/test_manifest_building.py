"""The manifest: what it says of each image, and what becomes of near-duplicates."""

import hashlib

import pytest
from beansweep.common.errors import UserError
from beansweep.data import manifest_building, splitting
from PIL import Image

SETTINGS = {"fractions": {"val": 0.25, "test": 0.25}, "seed": 0, "on_leakage": "warn"}


@pytest.fixture
def leaking(image_folder):
    """A folder that is split, with a turned copy of a training image in test."""
    paths = []
    for split in splitting.SPLITS:
        paths += [f"{split}/{label}/{index}.png" for label in "ab" for index in range(2)]
    root = image_folder(*paths)
    with Image.open(root / "train/a/0.png") as image:
        image.transpose(Image.Transpose.ROTATE_90).save(root / "test/a/1.png")
    return root


def test_images_without_splits_get_them_and_are_described(image_folder):
    root = image_folder(*(f"{label}/{index}.png" for label in "ab" for index in range(8)))
    manifest, pairs = manifest_building.build(root, SETTINGS)
    for label in "ab":
        splits = manifest.loc[manifest["class"] == label, "split"]
        assert splits.value_counts().to_dict() == {"train": 4, "val": 2, "test": 2}
    assert (manifest[["width", "height"]] == 40).all(axis=None)
    for _, row in manifest.iterrows():
        content = (root / row["path"]).read_bytes()
        assert row["bytes"] == len(content)
        assert row["sha256"] == hashlib.sha256(content).hexdigest()
    assert manifest["group"].is_unique
    assert pairs.empty


def test_a_near_duplicate_across_splits_is_listed_and_kept_where_that_is_a_warning(leaking):
    manifest, pairs = manifest_building.build(leaking, SETTINGS)
    assert pairs[["first_path", "second_path"]].to_numpy().tolist() == [
        ["test/a/1.png", "train/a/0.png"]
    ]
    assert pairs["crosses_splits"].all()
    assert not pairs["crosses_classes"].any()
    assert set(manifest["split"]) == set(splitting.SPLITS)


def test_a_near_duplicate_that_is_less_held_out_is_dropped(leaking):
    manifest, pairs = manifest_building.build(leaking, {**SETTINGS, "on_leakage": "drop"})
    dropped = manifest[manifest["split"] == splitting.DROPPED]
    assert dropped["path"].tolist() == ["train/a/0.png"]
    # The table has the splits before that.
    assert pairs["second_split"].tolist() == ["train"]


def test_a_near_duplicate_across_splits_is_refused_where_that_fails(leaking):
    with pytest.raises(UserError, match=r"test/a/1\.png and train/a/0\.png.*dataset\.on_leakage"):
        manifest_building.build(leaking, {**SETTINGS, "on_leakage": "fail"})
