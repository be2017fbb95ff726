"""Finding images in folders, refusing folders that cannot be used, and the folder's digest."""

import itertools

import pytest
from beansweep.common.errors import UserError
from beansweep.data import image_folders, splitting

SPLIT_PATHS = []
for split in ("train", "valid", "test"):
    for name in ("a/0.png", "a/1.png", "b/0.png", "b/1.png"):
        SPLIT_PATHS.append(f"{split}/{name}")


def test_split_folders_are_taken_as_they_are(image_folder):
    found = image_folders.scan(image_folder(*SPLIT_PATHS))
    assert found["path"].tolist() == sorted(SPLIT_PATHS)
    images = found.groupby(["split", "class"]).size()
    assert set(images.index) == set(itertools.product(splitting.SPLITS, "ab"))
    assert (images == 2).all()


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
