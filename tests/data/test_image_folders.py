"""Finding images in folders, refusing folders that cannot be used, and the folder's digest."""

import itertools
import os

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
        (["val/a/1.png", "val/b/1.png"], None, "exactly one train folder"),
        (["train/a/1.png", "train/b/1.png", "car/1.png"], None, "exactly one val folder"),
        (["train/1.png", "bus/1.png"], None, "rename a class that is called train, val or test"),
        (["good/1.png", "test/1.png"], None, "rename a class that is called train, val or test"),
        (["beans/a/1.png", "beans/b/1.png"], None, r"did you mean .*/images/beans\?"),
        (["beans/train/a/1.png", "beans/test/b/1.png"], None, r"did you mean .*/images/beans\?"),
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


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("training", "validation", "testing"), ("train", "val", "test")),
        (("train", "validation", "evaluation"), ("train", "val", "test")),
        (("train", "evaluation", "test"), ("train", "val", "test")),
        (("Train", "test"), ("train", "test")),
        (("train", "valid"), ("train", "val")),
        (("training",), ("train",)),
    ],
)
def test_split_folders_have_many_names(image_folder, names, splits):
    root = image_folder(*(f"{name}/{label}/1.png" for name in names for label in "ab"))
    found = image_folders.scan(root)
    assert set(found["split"]) == set(splits)
    for name, split in zip(names, splits, strict=True):
        assert set(found.loc[found["path"].str.startswith(f"{name}/"), "split"]) == {split}


def test_a_folder_without_images_next_to_train_is_no_class(image_folder):
    root = image_folder("train/a/1.png", "train/b/1.png")
    (root / "annotations/more").mkdir(parents=True)
    (root / "annotations/more/1.xml").write_bytes(b"")
    assert set(image_folders.scan(root)["split"]) == {"train"}


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (
            ["train_set/a/1.png", "train_set/b/1.png", "test_set/a/1.png", "test_set/b/1.png"],
            "the class folders test_set and train_set hold the same folders a, b",
        ),
        (["a/images/1.png", "b/images/1.png"], None),
        (["a/x/1.png", "a/y/1.png", "b/x/1.png", "b/z/1.png"], None),
        (["a/x/1.png", "a/y/1.png", "b/x/1.png", "b/y/1.png", "b/1.png"], None),
        (["a/1.png", "b/1.png"], None),
        ([path.replace("/a/", "/a/x/").replace("/b/", "/b/x/") for path in SPLIT_PATHS], None),
    ],
)
def test_class_folders_that_look_like_splits_are_warned_of(image_folder, paths, words):
    lines = image_folders.likely_splits(image_folders.scan(image_folder(*paths)))
    assert len(lines) == (1 if words else 0)
    assert all(words in line for line in lines)


def test_what_other_programs_leave_is_no_image_and_no_class(image_folder):
    hidden = [
        "a/._1.png",
        "a/.ipynb_checkpoints/1-checkpoint.png",
        "b/@eaDir/1.png/thumb.png",
        "__MACOSX/a/1.png",
        ".cache/1.png",
    ]
    root = image_folder("a/1.png", "b/1.png", *hidden)
    found = image_folders.scan(root)
    assert found["path"].tolist() == ["a/1.png", "b/1.png"]
    (line,) = image_folders.left_out(root, found["path"])
    assert line == "5 hidden file(s) or folder(s) are left out, such as .cache"


def test_nothing_is_left_out_without_a_word(image_folder):
    root = image_folder("train/a/1.png", "train/b/1.png", "test/1.png", "test/2.png")
    (root / "train/a/2.heic").write_bytes(b"")
    (root / "train/a/notes").write_bytes(b"")
    found = image_folders.scan(root)
    assert found["path"].tolist() == ["train/a/1.png", "train/b/1.png"]
    unclassed, suffixes = image_folders.left_out(root, found["path"])
    assert unclassed.startswith("2 image(s) are in no class folder")
    assert "such as test/1.png" in unclassed
    assert "1 .heic in train/a" in suffixes
    assert "1 without a suffix in train/a" in suffixes


def test_images_that_are_read_by_another_path_are_not_left_out(image_folder):
    splits = [f"{split}/{label}/1.png" for split in ("train", "test") for label in "ab"]
    root = image_folder(*splits, "aaa/2.png")
    (root / "train/a/more").symlink_to("../../aaa")
    (root / "zzz").symlink_to("train/b")
    found = image_folders.scan(root)
    assert "train/a/more/2.png" in set(found["path"])
    assert image_folders.left_out(root, found["path"]) == []


def test_linked_folders_are_followed_once(image_folder, tmp_path):
    root = image_folder("a/1.png", "b/1.png")
    (tmp_path / "more").mkdir()
    (root / "a/1.png").rename(tmp_path / "more/2.png")
    (root / "a/linked").symlink_to(tmp_path / "more")
    (root / "a/again").symlink_to(root / "a")
    (root / "a/up").symlink_to(root)
    assert image_folders.scan(root)["path"].tolist() == ["a/linked/2.png", "b/1.png"]


@pytest.mark.parametrize(
    ("paths", "link"),
    [
        (["a/1.png", "b/1.png"], "c"),
        (["a/1.png", "b/1.png"], "a/more"),
        (["a/1.png", "b/1.png"], "a/deep/more"),
        (SPLIT_PATHS[:8], "test"),
        (SPLIT_PATHS, "train/c"),
        (SPLIT_PATHS, "test/a/more"),
        (SPLIT_PATHS, "test/a/2.png"),
    ],
)
def test_a_link_to_a_folder_that_is_gone_hides_no_images(image_folder, paths, link):
    root = image_folder(*paths)
    (root / link).parent.mkdir(exist_ok=True)
    (root / link).symlink_to("gone")
    with pytest.raises(UserError, match=rf"/{link} is .*link that leads nowhere: fix or remove"):
        image_folders.scan(root)


def test_a_link_that_could_lead_to_no_image_may_lead_nowhere(image_folder):
    root = image_folder("a/1.png", "b/1.png")
    for link in ("notes.txt", "a/notes.txt", ".cache", "a/.cache"):
        (root / link).symlink_to("gone")
    assert len(image_folders.scan(root)) == 2


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere does not exist"):
        image_folders.scan(tmp_path / "nowhere")
    (tmp_path / "images.zip").write_bytes(b"")
    with pytest.raises(UserError, match=r"images\.zip is no folder; .* unpacked"):
        image_folders.scan(tmp_path / "images.zip")


def test_a_pipe_with_the_name_of_an_image_is_refused(image_folder):
    root = image_folder("a/1.png", "b/1.png")
    os.mkfifo(root / "a/2.png")
    with pytest.raises(UserError, match=r"2\.png is no file"):
        image_folders.scan(root)


def test_the_fingerprint_follows_content_and_names_not_times(image_folder, tmp_path):
    root, cache = image_folder("a/1.png", "b/1.png"), tmp_path / "cache.json"
    before = image_folders.fingerprint(root, cache)
    (root / "a/1.png").touch()
    assert image_folders.fingerprint(root, cache) == before
    (root / "a/1.png").rename(root / "a/2.png")
    renamed = image_folders.fingerprint(root, cache)
    (root / "b/1.png").write_bytes((root / "a/2.png").read_bytes())
    assert len({before, renamed, image_folders.fingerprint(root, cache)}) == 3


def test_the_fingerprint_sees_two_images_swap_their_names(image_folder, tmp_path):
    root, cache = image_folder("a/1.bmp", "b/1.bmp"), tmp_path / "cache.json"
    for label in "ab":
        os.utime(root / label / "1.bmp", ns=(10**18, 10**18))
    before = image_folders.fingerprint(root, cache)
    (root / "a/1.bmp").rename(root / "kept")
    (root / "b/1.bmp").rename(root / "a/1.bmp")
    (root / "kept").rename(root / "b/1.bmp")
    assert image_folders.fingerprint(root, cache) != before
