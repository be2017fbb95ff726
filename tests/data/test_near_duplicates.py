"""Near-duplicates are found, and different images are not taken for them."""

import io

import numpy as np
import pytest
from beansweep.data import image_comparison, near_duplicates, rendered_beans
from PIL import Image, ImageEnhance, ImageFilter


def pairs_of(images: list[Image.Image]) -> dict[tuple[int, int], float]:
    thumbnails = np.stack([near_duplicates.thumbnail(image) for image in images])
    digests = [f"{image.size} {image.tobytes().hex()}" for image in images]
    return near_duplicates.find_pairs(thumbnails, digests, lambda n: images[n].convert("L"))


def groups_of(images: list[Image.Image]) -> list[int]:
    return near_duplicates.duplicate_groups(len(images), pairs_of(images)).tolist()


def photograph(seed: int, size: int = 128) -> Image.Image:
    label = rendered_beans.CLASSES[seed % len(rendered_beans.CLASSES)]
    return Image.fromarray(rendered_beans.render(label, size, np.random.default_rng(seed)))


def encoded(image: Image.Image, kind: str, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, kind, quality=quality)
    return Image.open(file).convert("RGB")


def scratched(scene: np.ndarray, count: int) -> list[Image.Image]:
    """Photographs of one scene, each with a scratch of 6 pixels at another place."""
    rng, images = np.random.default_rng(0), []
    for _ in range(count):
        levels = scene.copy()
        row, column = rng.integers(4, np.array(scene.shape) - 10)
        levels[row, column : column + 6] += 60
        images.append(Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)).convert("RGB"))
    return images


COPIES = {
    "JPEG": lambda image: encoded(image, "JPEG", 60),
    "WebP": lambda image: encoded(image, "WEBP", 60),
    "resized": lambda image: image.resize((90, 90), Image.Resampling.BICUBIC),
    "enlarged": lambda image: image.resize((192, 192), Image.Resampling.BICUBIC),
    "cropped": lambda image: image.crop((2, 3, 126, 127)),
    "cropped and resized": lambda image: image.resize((128, 128), box=(2, 1, 126, 127)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
    "turned": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "flipped": lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    "turned JPEG": lambda image: encoded(image.transpose(Image.Transpose.ROTATE_270), "JPEG", 80),
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_copies_are_found_and_other_photographs_are_not(copy):
    photographs = [photograph(seed) for seed in range(8)]
    copies = [copy(photographs[seed]) for seed in (1, 4)]
    found = pairs_of([*photographs, *copies])
    assert list(found) == [(1, 8), (4, 9)]
    assert all(0.98 <= correlation <= 1.001 for correlation in found.values())


@pytest.mark.parametrize("quality", [None, 80])
@pytest.mark.parametrize("scene", ["plain", "a bean"])
def test_photographs_of_one_scene_with_a_small_defect_each_are_no_copies(scene, quality):
    levels = np.full((96, 128), 120.0) + np.linspace(-20, 20, 128)
    if scene == "a bean":
        levels = np.asarray(photograph(0).convert("L"), float)
    images = scratched(levels, 40)
    if quality:
        images = [encoded(image, "JPEG", quality) for image in images]
    assert len(set(groups_of(images))) == 40


def test_two_photographs_of_one_scene_differ_in_their_noise():
    rng = np.random.default_rng(0)
    images = []
    for _ in range(4):
        levels = np.linspace(80, 160, 96) + rng.normal(0, 4, (96, 96))
        images.append(Image.fromarray(levels.astype(np.uint8)).convert("RGB"))
    assert len(set(groups_of([*images, encoded(images[0], "JPEG", 90)]))) == 4


def noisy(seed: int, size: tuple[int, int] = (300, 400)) -> Image.Image:
    """A photograph of the same scene, with its own noise."""
    scene = photograph(3, 400).convert("L").filter(ImageFilter.GaussianBlur(2))
    scene = scene.crop((0, 0, size[1], size[0]))
    levels = np.asarray(scene, float) + np.random.default_rng(seed).normal(0, 3, size)
    return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)).convert("RGB")


def test_a_patch_shows_that_photographs_of_one_scene_are_no_copies(monkeypatch):
    images = [noisy(seed) for seed in range(4)]
    copies = [encoded(images[0], "JPEG", 80), images[1].crop((3, 2, 400, 298))]
    sizes = []
    register = image_comparison.register

    def watched(whole, part, size, start):
        sizes.append(max(size))
        return register(whole, part, size, start)

    monkeypatch.setattr(image_comparison, "register", watched)
    groups = groups_of([*images, *copies])
    assert len(set(groups)) == 4
    assert (groups[0], groups[1]) == (groups[4], groups[5])
    # In full, the two copies alone are compared.
    assert 2 <= sum(size > 256 for size in sizes) <= 4


def test_many_images_are_cut_into_parts_that_lose_no_pair(monkeypatch):
    rng = np.random.default_rng(0)
    features = rng.normal(0, 1 / np.arange(1, 65), (300, 64))
    features = np.concatenate([features, features + rng.normal(0, 0.002, features.shape)])
    features = np.float32(features / np.linalg.norm(features, axis=1, keepdims=True))
    whole = near_duplicates._neighbours(features, np.arange(600))
    monkeypatch.setattr(near_duplicates, "_CELL", 50)
    in_parts = near_duplicates._neighbours(features, np.arange(600))
    np.testing.assert_array_equal(in_parts, whole)
    assert len(whole) >= 300


def test_images_that_are_all_alike_are_cut_too(monkeypatch):
    monkeypatch.setattr(near_duplicates, "_CELL", 50)
    features = np.tile(np.float32([[1] + [0] * 63]), (1000, 1))
    cells = near_duplicates._cells(features, np.arange(1000))
    assert sorted(np.concatenate(cells)) == list(range(1000))
    assert max(map(len, cells)) <= 50


def test_many_copies_of_one_photograph_are_one_group():
    original = photograph(3)
    copies = [encoded(original, "JPEG", quality) for quality in range(50, 95, 2)]
    groups = groups_of([photograph(0), original, *copies, photograph(1)])
    assert len(set(groups)) == 3
    assert len(set(groups[1:-1])) == 1


def test_the_pairs_of_identical_images_grow_as_their_number():
    thumbnails = np.zeros((20_000, 32, 32), np.float32)

    def read(number: int) -> Image.Image:
        raise AssertionError("nothing needs to be read again")

    pairs = near_duplicates.find_pairs(thumbnails, ["black"] * 20_000, read)
    assert len(pairs) == 19_999
    assert len(set(near_duplicates.duplicate_groups(20_000, pairs))) == 1


def test_comparisons_of_similar_images_grow_as_their_number(monkeypatch):
    """As of photographs by one camera, which all look alike in a thumbnail."""
    compared = []
    monkeypatch.setattr(
        near_duplicates.image_comparison, "is_copy", lambda *images: compared.append(images)
    )
    rng = np.random.default_rng(0)
    thumbnails = np.linspace(60, 200, 32) + rng.normal(0, 0.1, (1000, 32, 32))
    near_duplicates.find_pairs(
        thumbnails.astype(np.float32), list(map(str, range(1000))), lambda n: Image.new("L", (4, 4))
    )
    assert 1000 < len(compared) < 10_000


def test_blank_images_of_other_colours_are_no_copies():
    """As swatches are, where the colour is the class."""
    images = [Image.new("RGB", (40, 40), colour) for colour in ("black", "red", "green", "black")]
    assert groups_of(images)[0] == groups_of(images)[3]
    assert len(set(groups_of(images))) == 3


def test_images_of_any_shape_are_compared():
    images = [photograph(0).resize(size) for size in ((1, 1), (1, 90), (300, 2), (40, 30))]
    assert len(groups_of([*images, photograph(0).resize((60, 45))])) == 5


def test_a_chain_of_pairs_is_one_group():
    groups = near_duplicates.duplicate_groups(5, [(0, 3), (3, 4)])
    assert groups[0] == groups[3] == groups[4]
    assert len(set(groups)) == 3
