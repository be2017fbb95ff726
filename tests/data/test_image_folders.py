"""Finding, splitting and comparing images."""

import numpy as np
import pytest
from beansweep.common.errors import UserError
from beansweep.data import image_folders, near_duplicates, rendered_beans, splitting
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

SPLIT_PATHS = [
    f"{split}/{label}/{i}.png"
    for split in ("train", "valid", "test")
    for label in "ab"
    for i in range(2)
]


def test_split_folders_are_taken_as_they_are(image_folder):
    found = image_folders.scan(image_folder(*SPLIT_PATHS))
    assert found["path"].tolist() == sorted(SPLIT_PATHS)
    assert set(zip(found["split"], found["class"], strict=True)) == {
        (s, c) for s in splitting.SPLITS for c in "ab"
    }


def test_class_folders_alone_are_left_to_be_split(image_folder):
    found = image_folders.scan(image_folder("a/1.png", "a/deep/2.png", "b/1.png"))
    assert found["split"].tolist() == [""] * 3
    assert found["class"].tolist() == ["a", "a", "b"]


@pytest.mark.parametrize(
    ("paths", "emptied", "words"),
    [
        (["a/1.png"], None, "at least two"),
        (["train/a/1.png", "train/b/1.png"], None, "exactly one val folder"),
        (
            [path for path in SPLIT_PATHS if path[:7] != "valid/b"],
            None,
            "class 'b' is missing from the val split",
        ),
        ([*SPLIT_PATHS, "val/a/1.png", "val/b/1.png"], None, "val and valid"),
        (["a/1.png", "b/1.png"], "b/1.png", "holds no images"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_by_name(image_folder, paths, emptied, words):
    root = image_folder(*paths)
    if emptied:
        (root / emptied).unlink()
    with pytest.raises(UserError, match=words):
        image_folders.scan(root)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere does not exist"):
        image_folders.scan(tmp_path / "nowhere")


def test_the_fingerprint_follows_content_and_names_not_times(image_folder, tmp_path):
    root, cache = image_folder("a/1.png", "b/1.png"), tmp_path / "cache.json"
    before = image_folders.fingerprint(root, cache)
    (root / "a/1.png").touch()
    assert image_folders.fingerprint(root, cache) == before
    (root / "a/1.png").rename(root / "a/2.png")
    renamed = image_folders.fingerprint(root, cache)
    (root / "b/1.png").write_bytes((root / "a/2.png").read_bytes())
    assert len({before, renamed, image_folders.fingerprint(root, cache)}) == 3


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30)), min_size=3, max_size=80),
    st.integers(0, 5),
)
def test_a_split_never_parts_a_group_and_depends_on_the_seed_alone(rows, seed):
    labels, groups = np.array(rows).T
    fractions = {"val": 0.2, "test": 0.25}
    splits = splitting.assign_splits(labels, groups, fractions, seed)
    assert set(splits) <= set(splitting.SPLITS)
    for group in set(groups):
        assert len(set(splits[groups == group])) == 1
    assert (splits == splitting.assign_splits(labels, groups, fractions, seed)).all()


def test_a_split_of_single_images_gives_each_class_its_shares():
    labels = np.repeat([0, 1], [100, 40])
    splits = splitting.assign_splits(labels, np.arange(140), {"val": 0.15, "test": 0.2}, seed=3)
    for label, count in ((0, 100), (1, 40)):
        mine = splits[labels == label]
        assert (mine == "val").sum() == 0.15 * count
        assert (mine == "test").sum() == 0.2 * count


def test_turned_flipped_recoded_and_brightened_copies_are_found_and_others_are_not(tmp_path):
    photos = [
        Image.fromarray(rendered_beans.render(label, 128, np.random.default_rng(seed)))
        for seed, label in enumerate(rendered_beans.CLASSES * 4)
    ]
    photos[0].save(tmp_path / "copy.jpg", quality=60)
    copies = [
        Image.open(tmp_path / "copy.jpg"),
        photos[1].transpose(Image.Transpose.ROTATE_90),
        photos[2].transpose(Image.Transpose.TRANSVERSE),
        ImageEnhance.Brightness(photos[3]).enhance(0.9),
    ]
    thumbnails = np.stack([near_duplicates.thumbnail(photo) for photo in [*photos, *copies]])
    pairs = near_duplicates.pairs(thumbnails, near_duplicates.perceptual_hashes(thumbnails))
    assert list(pairs) == [(i, len(photos) + i) for i in range(4)]
    assert all(0.995 <= correlation <= 1.001 for correlation in pairs.values())


@given(
    st.lists(
        st.tuples(st.sampled_from(splitting.SPLITS), st.integers(0, 12)), min_size=1, max_size=60
    )
)
def test_after_dropping_no_group_crosses_splits_and_test_has_lost_nothing(rows):
    splits, groups = (np.array(each) for each in zip(*rows, strict=True))
    kept = splitting.drop_leaks(splits, groups)
    for group in set(groups):
        left = set(kept[groups == group]) - {splitting.DROPPED}
        assert len(left) == 1
        # What is most held out stays.
        assert left == {max(splits[groups == group], key=splitting.SPLITS.index)}
    assert ((kept == "test") == (splits == "test")).all()
    assert ((kept == splits) | (kept == splitting.DROPPED)).all()


def test_a_chain_of_pairs_is_one_group():
    groups = near_duplicates.duplicate_groups(5, [(0, 3), (3, 4)])
    assert groups[0] == groups[3] == groups[4]
    assert len(set(groups)) == 3
