"""Images that are decoded once."""

import os
import shutil
from collections import namedtuple

import numpy as np
import pandas as pd
import pytest
import torch
from beansweep.common.errors import UserError
from beansweep.data import pixels, preprocess
from PIL import Image

PREPROCESSING = {"image_size": 24, "bits": None, "mean": [0.5] * 3, "std": [0.5] * 3}
PATHS = [f"{label}/{number}.jpg" for label in "ab" for number in range(5)]


@pytest.fixture
def decode(image_folder, tmp_path):
    """A function that decodes a folder of images; it returns the arguments of `pixels.read`."""

    def run(*paths: str, **preprocessing) -> tuple:
        root, manifest = image_folder(*paths, size=(70, 40)), tmp_path / "manifest.csv"
        pd.DataFrame({"path": paths, "split": "train", "class": "a"}).to_csv(manifest, index=False)
        array, record = tmp_path / "pixels@24.npy", tmp_path / "pixels@24.json"
        pixels.write(root, manifest, PREPROCESSING | preprocessing, 2, array, record)
        return root, manifest, record

    return run


@pytest.fixture
def full_disk(monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(20_000))


def expected(root, paths) -> np.ndarray:
    return np.stack([preprocess.read_square(root / path, PREPROCESSING) for path in paths])


def test_rows_are_the_images_as_preprocess_sees_them_in_the_order_of_the_manifest(decode, tmp_path):
    root, _, _ = decode(*PATHS)
    np.testing.assert_array_equal(np.load(tmp_path / "pixels@24.npy"), expected(root, PATHS))


def test_bits_of_deep_gray_count(tmp_path):
    (tmp_path / "deep.png").touch()
    levels = np.linspace(0, 4095, 1600).astype(np.uint16).reshape(40, 40)
    Image.fromarray(levels).save(tmp_path / "deep.png")
    manifest, array = tmp_path / "manifest.csv", tmp_path / "pixels@24.npy"
    pd.DataFrame({"path": ["deep.png"], "split": "test", "class": "a"}).to_csv(manifest)
    deep = PREPROCESSING | {"bits": 12}
    pixels.write(tmp_path, manifest, deep, 1, array, array.with_suffix(".json"))
    image = preprocess.read_square(tmp_path / "deep.png", deep)
    assert image.max() > 200
    np.testing.assert_array_equal(np.load(array)[0], image)


@pytest.mark.parametrize("disk", ["with room", "full"])
def test_a_selection_is_indexed_as_an_array_is(decode, disk, request):
    if disk == "full":
        request.getfixturevalue("full_disk")
    source = decode(*PATHS)
    images = pixels.read(*source)
    assert isinstance(images, pixels.Folder if disk == "full" else pixels.Decoded)
    chosen = [PATHS[7], PATHS[2], PATHS[3], PATHS[2]]
    selection, wanted = images.select(chosen, PREPROCESSING), expected(source[0], chosen)
    assert (len(selection), selection.shape) == (4, wanted.shape)
    for index in (slice(None), slice(1, 3), slice(4, None), np.array([3, 0]), [2, 2], 1, -1):
        np.testing.assert_array_equal(selection[index], wanted[index])
    numbers = torch.tensor([3, 1])
    np.testing.assert_array_equal(selection[numbers], wanted[[3, 1]])
    with pytest.raises(IndexError):
        selection[4]


def test_no_images_are_no_error(decode):
    selection = pixels.read(*decode(*PATHS)).select([], PREPROCESSING)
    assert selection[:].shape == (0, 24, 24, 3)


def test_the_disk_that_is_needed_is_said_and_a_full_one_is_no_error(
    decode, full_disk, tmp_path, capsys
):
    source = decode(*PATHS)
    assert "decode: 10 images of 24 pixels take 0 MB of disk" in capsys.readouterr().out
    assert np.load(tmp_path / "pixels@24.npy").shape == (0, 24, 24, 3)
    pixels.read(*source)
    said = capsys.readouterr().out
    assert said.startswith("images are read as they come, which takes longer: the disk had no room")


def test_a_file_that_was_removed_to_save_disk_is_no_error(decode, tmp_path, capsys):
    source = decode(*PATHS)
    (tmp_path / "pixels@24.npy").unlink()
    images = pixels.read(*source)
    assert "pixels@24.npy is gone" in capsys.readouterr().out
    np.testing.assert_array_equal(
        images.select(PATHS, PREPROCESSING)[:], expected(source[0], PATHS)
    )


def test_pixels_of_another_manifest_are_refused(decode, tmp_path):
    root, manifest, record = decode(*PATHS)
    manifest.write_text(manifest.read_text().replace("a/1", "a/7"))
    with pytest.raises(UserError, match=r"pixels@24\.json is not of .*manifest\.csv: remove"):
        pixels.read(root, manifest, record)


@pytest.mark.parametrize(
    ("network", "words"), [({"image_size": 32}, "'image_size': 32"), ({"bits": 12}, "'bits': 12")]
)
def test_a_network_that_sees_images_otherwise_is_refused(decode, network, words):
    images = pixels.read(*decode(*PATHS))
    with pytest.raises(UserError, match=words):
        images.select(PATHS, PREPROCESSING | network)


@pytest.mark.parametrize(
    ("kept", "words"), [(-1000, "ends too early"), (-24 * 24 * 3, "ends too early")]
)
def test_a_file_that_was_cut_is_named(decode, tmp_path, kept, words):
    source, array = decode(*PATHS), tmp_path / "pixels@24.npy"
    array.write_bytes(array.read_bytes()[:kept])
    with pytest.raises(UserError, match=rf"pixels@24\.npy {words}: remove .*pixels@24\.json"):
        pixels.read(*source).select(PATHS, PREPROCESSING)[-1]


def test_an_image_that_is_gone_is_named(decode, image_folder):
    root, manifest, _ = decode(*PATHS)
    (root / PATHS[3]).unlink()
    with pytest.raises(UserError, match=r"a/3\.jpg cannot be read"):
        pixels.write(root, manifest, PREPROCESSING, 2, root / "x@24.npy", root / "x@24.json")
    assert not (root / "x@24.json").exists()


def resident() -> int:
    """Bytes of this process that are in memory, pages of mapped files among them."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_memory_does_not_grow_with_the_images(tmp_path):
    count, size = 20_000, 128
    array = tmp_path / "pixels@128.npy"
    with open(array, "wb") as file:
        pixels._write_header(file, (count, size, size, 3))
        # A sparse file: it takes no disk.
        file.truncate(file.tell() + count * size * size * 3)
    paths = pd.Series([f"{number}.jpg" for number in range(count)])
    preprocessing = {"image_size": size, "bits": None}
    selection = pixels.Decoded(array, preprocessing, paths).select(paths, preprocessing)
    selection[:32]
    before = resident()
    order = np.random.default_rng(0).permutation(count)
    for start in range(0, 4000, 32):
        selection[order[start : start + 32]]
    # 200 MB were read.
    assert resident() - before < 20e6
