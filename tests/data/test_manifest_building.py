"""The manifest: what it says of each image, and what becomes of near-duplicates."""

import hashlib

import numpy as np
import pytest
from beansweep.common.errors import UserError
from beansweep.data import manifest_building, splitting
from PIL import Image

SETTINGS = {
    "fractions": {"val": 0.25, "test": 0.25, "pick": 0},
    "seed": 0,
    "on_leakage": "warn",
    "on_unreadable": "fail",
    "bits": None,
    "max_megapixels": 100,
}


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


def test_a_part_of_the_validation_images_is_set_aside_for_the_pick(image_folder):
    root = image_folder(*(f"{label}/{index}.png" for label in "ab" for index in range(16)))
    with Image.open(root / "a/0.png") as image:
        for index in range(1, 4):
            image.transpose(Image.Transpose.ROTATE_90).save(root / f"a/{index}.png")
    whole, _ = manifest_building.build(root, SETTINGS)
    fractions = {**SETTINGS["fractions"], "pick": 0.5}
    cut, _ = manifest_building.build(root, {**SETTINGS, "fractions": fractions})
    assert cut["split"].replace("pick", "val").tolist() == whole["split"].tolist()
    counts = cut.groupby("class")["split"].value_counts()
    assert counts["b", "val"] == counts["b", "pick"] == 2
    # Near-duplicates stay together.
    assert (cut.groupby("group")["split"].nunique() == 1).all()


def test_a_class_with_one_validation_image_cannot_set_any_aside(image_folder):
    root = image_folder(*(f"{label}/{index}.png" for label in "ab" for index in range(4)))
    settings = {**SETTINGS, "fractions": {**SETTINGS["fractions"], "pick": 0.5}}
    with pytest.raises(UserError, match=r"dataset\.fractions\.pick: class 'a' has too few"):
        manifest_building.build(root, settings)


@pytest.mark.parametrize(
    ("test_image", "missing", "counts"),
    [
        ("test/{0}/1.png", "no val images", {"train": 9, "val": 3, "test": 1}),
        ("test/{0}.png", "no val and no test images", {"train": 6, "val": 3, "test": 3}),
        ("val/{0}/1.png", "no test images", {"train": 9, "val": 1, "test": 3}),
        (None, "no val and no test images", {"train": 6, "val": 3, "test": 3}),
    ],
    ids=["no validation images", "test images without classes", "no test images", "train alone"],
)
def test_splits_that_are_missing_are_drawn_from_train(
    image_folder, capsys, test_image, missing, counts
):
    paths = [f"train/{label}/{index}.png" for label in "ab" for index in range(12)]
    if test_image:
        paths += [test_image.format(label) for label in "ab"]
    root = image_folder(*paths)
    manifest, _ = manifest_building.build(root, SETTINGS)
    for label in "ab":
        splits = manifest.loc[manifest["class"] == label, "split"]
        assert splits.value_counts().to_dict() == counts
    assert f"there are {missing} with classes, so they are drawn from" in capsys.readouterr().out


def test_all_unreadable_images_are_named_at_once_or_skipped(image_folder, capsys):
    root = image_folder(*(f"{label}/{index}.png" for label in "ab" for index in range(8)))
    (root / "a/1.png").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"a/1\.png cannot .*, or set dataset\.on_unreadable to"):
        manifest_building.build(root, SETTINGS)
    (root / "b/2.png").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"2 images cannot be read \(a/1\.png, b/2\.png\)"):
        manifest_building.build(root, SETTINGS)
    capsys.readouterr()
    manifest, _ = manifest_building.build(root, {**SETTINGS, "on_unreadable": "skip"})
    assert len(manifest) == 14
    assert not manifest["path"].isin(["a/1.png", "b/2.png"]).any()
    said = capsys.readouterr().out
    assert "2 image(s) cannot be read and are skipped" in said
    # The log has each, however many there are.
    assert "a/1.png cannot be read (" in said and "b/2.png cannot be read (" in said
    for path in (root / "b").iterdir():
        path.write_bytes(b"damaged")
    with pytest.raises(UserError, match="class 'b' has no image that can be read"):
        manifest_building.build(root, {**SETTINGS, "on_unreadable": "skip"})


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


@pytest.mark.parametrize("seed", range(6))
def test_what_is_dropped_is_not_drawn_for_a_split_that_is_missing(image_folder, seed):
    paths = [f"train/{label}/{index}.png" for label in "ab" for index in range(12)]
    root = image_folder(*paths, *(f"test/{label}/{index}.png" for label in "ab" for index in "01"))
    for index in range(8):
        with Image.open(root / f"test/a/{index % 2}.png") as image:
            image.rotate(90 * (index // 2)).save(root / f"train/a/{index}.png")
    settings = {**SETTINGS, "on_leakage": "drop", "seed": seed}
    manifest, _ = manifest_building.build(root, settings)
    splits = manifest.loc[manifest["class"] == "a", "split"].value_counts().to_dict()
    assert splits == {"train": 3, "val": 1, "test": 2, splitting.DROPPED: 8}
    assert (manifest.loc[manifest["class"] == "b", "split"] == "val").sum() == 3


def test_a_near_duplicate_across_splits_is_refused_where_that_fails(leaking):
    with pytest.raises(UserError, match=r"test/a/1\.png and train/a/0\.png.*dataset\.on_leakage"):
        manifest_building.build(leaking, {**SETTINGS, "on_leakage": "fail"})


@pytest.mark.parametrize(
    ("brightest", "bits", "words"),
    [
        (4000, None, "all 16 16-bit image(s) are dark, with levels up to 4000 of 65535"),
        (4000, 12, None),
        (60_000, None, None),
        (4000, 10, "16 image(s) have levels of more than 10 bits, which are white"),
    ],
)
def test_the_bits_that_a_camera_uses_of_sixteen_are_asked_for(
    tmp_path, capsys, brightest, bits, words
):
    rng = np.random.default_rng(0)
    for label in "ab":
        (tmp_path / label).mkdir()
        for index in range(8):
            levels = rng.integers(0, brightest, (20, 20)).astype(np.uint16)
            levels[0, 0] = brightest
            Image.fromarray(levels).save(tmp_path / label / f"{index}.png")
    manifest, _ = manifest_building.build(tmp_path, {**SETTINGS, "bits": bits})
    said = capsys.readouterr().out
    assert words in said if words else "bit" not in said
    assert len(manifest) == 16


@pytest.mark.parametrize(("count", "warned"), [(1, False), (2, True), (8, True)])
def test_cameras_of_two_depths_are_warned_of(tmp_path, capsys, count, warned):
    rng = np.random.default_rng(0)
    for label in "ab":
        (tmp_path / label).mkdir()
        for index in range(8):
            brightest = 4000 if label == "b" and index < count else 60_000
            levels = rng.integers(0, brightest, (20, 20)).astype(np.uint16)
            levels[0, 0] = brightest
            Image.fromarray(levels).save(tmp_path / label / f"{index}.png")
    manifest_building.build(tmp_path, SETTINGS)
    words = (
        f"{count} of 16 16-bit image(s) are dark, with levels up to 4000 of 65535, such as b/0.png"
    )
    assert (words in capsys.readouterr().out) == warned


def test_an_image_of_too_many_pixels_is_named(image_folder):
    root = image_folder(*(f"{label}/{index}.png" for label in "ab" for index in range(8)))
    Image.new("L", (2000, 1000)).save(root / "a/3.png")
    with pytest.raises(UserError, match=r"a/3\.png cannot be read \(2000 x 1000 pixels.*max_mega"):
        manifest_building.build(root, {**SETTINGS, "max_megapixels": 1.5})


def test_a_class_that_is_too_small_for_its_interval_is_said(image_folder, capsys):
    images = [f"a/{index}.png" for index in range(60)] + [f"b/{index}.png" for index in range(5)]
    manifest_building.build(image_folder(*images, size=(16, 16)), SETTINGS)
    said = capsys.readouterr().out
    assert "leave the recall of a class open (1 of 'b' in test, 1 of 'b' in val)" in said
