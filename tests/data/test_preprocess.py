"""Every kind of image file becomes the same upright RGB, and the same network input everywhere."""

import hashlib
import io
import math
import struct
import zlib

import numpy as np
import pytest
from beansweep.common import errors
from beansweep.data import preprocess
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

HALF = {"mean": [0.5] * 3, "std": [0.5] * 3}
RAMP = np.tile(np.linspace(0, 255, 60, dtype=np.uint8), (40, 1))


@pytest.mark.parametrize("suffix", preprocess.SUFFIXES)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_formats_and_gray_read_alike(tmp_path, suffix, mode):
    # A bitmap of two tones is what a .pbm holds by its name; the content decides what is read.
    name = "image.pnm" if suffix == ".pbm" else f"image{suffix}"
    Image.fromarray(RAMP).convert(mode).save(tmp_path / name)
    (tmp_path / name).rename(tmp_path / f"image{suffix}")
    pixels = np.asarray(preprocess.read(tmp_path / f"image{suffix}"))
    assert pixels.shape == (40, 60, 3)
    assert np.abs(pixels.astype(int) - RAMP[..., None]).max() <= 8


def test_sixteen_bit_gray_keeps_its_range(tmp_path):
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(np.asarray(preprocess.read(tmp_path / "deep.png"))[..., 0], RAMP)


def tiff(levels: np.ndarray, bits: int, sample_format: int, photometric: int = 1) -> bytes:
    """A TIFF of gray levels, with samples of so many bits; of 12, two are in three bytes."""
    if bits == 12:
        pairs = levels.reshape(-1, 2).astype(np.uint32)
        packed = (pairs[:, 0] << 12 | pairs[:, 1]).astype(">u4").view(np.uint8)
        data = packed.reshape(-1, 4)[:, 1:].tobytes()
    else:
        data = levels.astype("<i2" if sample_format == 2 else "<u2").tobytes()
    height, width = levels.shape
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1}
    tags |= {278: height, 279: len(data), 339: sample_format}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags))
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


@pytest.mark.parametrize(
    ("bits", "sample_format", "white"), [(12, 1, 4095), (16, 1, 65535), (16, 2, 32767)]
)
def test_deep_gray_is_scaled_by_the_bits_of_its_file(bits, sample_format, white):
    file = io.BytesIO(tiff(RAMP.astype(np.int32) * white // 255, bits, sample_format))
    gray = np.asarray(preprocess.read(file))[..., 0].astype(int)
    assert np.abs(gray - RAMP).max() <= 1
    # Files that say their bits go by them.
    if white != 65535:
        file.seek(0)
        np.testing.assert_array_equal(np.asarray(preprocess.read(file, bits=10))[..., 0], gray)


def test_a_negative_of_sixteen_bits_is_refused():
    file = io.BytesIO(tiff(RAMP.astype(np.int32), 16, 1, photometric=0))
    with pytest.raises(errors.Unreadable, match="white is zero in its 16-bit gray levels"):
        preprocess.read(file)


def test_levels_below_zero_are_black():
    levels = np.array([[-32768, -1], [0, 32767]])
    pixels = np.asarray(preprocess.read(io.BytesIO(tiff(levels, 16, 2))))[..., 0]
    assert pixels.tolist() == [[0, 0], [0, 255]]


def test_twelve_bits_in_sixteen_are_scaled_as_the_camera_has_them(tmp_path):
    levels = RAMP.astype(np.uint16) * 16
    levels[0, 0] = 60_000
    Image.fromarray(levels).save(tmp_path / "deep.png")
    pixels = preprocess.read_square(tmp_path / "deep.png", {"image_size": 60, "bits": 12})[10:50]
    assert pixels[0, 0].tolist() == [255] * 3
    np.testing.assert_array_equal(pixels[1:, :, 0], RAMP[1:])
    alike = preprocess.tensor(tmp_path / "deep.png", {**HALF, "image_size": 60, "bits": 12})
    np.testing.assert_allclose(alike[0, 0, 11:50], RAMP[1:] / 127.5 - 1, atol=1e-5)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("brightest", [1023, 4095, 65535])
def test_a_pgm_goes_by_the_brightest_level_that_it_names(brightest, plain):
    levels = RAMP.astype(np.int32) * brightest // 255
    data = " ".join(map(str, levels.ravel())).encode() if plain else levels.astype(">u2").tobytes()
    file = b"P%d %d %d %d\n" % (2 if plain else 5, *RAMP.shape[::-1], brightest) + data
    gray = np.asarray(preprocess.read(io.BytesIO(file)))[..., 0].astype(int)
    assert np.abs(gray - RAMP).max() <= 1
    scaled = np.asarray(preprocess.read(io.BytesIO(file), bits=12))[..., 0].astype(int)
    if brightest == 65535:
        # Such a file may hold a camera's fewer bits.
        assert (scaled == np.minimum(levels >> 4, 255)).all()
    else:
        assert (scaled == gray).all()


def test_colour_of_sixteen_bits_is_not_scaled_in_silence():
    rows = b"".join(b"\0" + struct.pack(">6H", *range(6)) for _ in range(2))
    png = b"\x89PNG\r\n\x1a\n"
    head = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
    for name, data in ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        check = zlib.crc32(name + data)
        png += struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)
    assert preprocess.read(io.BytesIO(png)).size == (2, 2)
    assert preprocess.read(io.BytesIO(png), bits=16).size == (2, 2)
    with pytest.raises(errors.Unreadable, match=r"dataset\.bits is for gray images"):
        preprocess.read(io.BytesIO(png), bits=12)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("brightest", [4095, 65535])
def test_colour_of_a_ppm_goes_by_the_brightest_level_that_it_names(brightest, plain):
    levels = np.repeat(RAMP.astype(np.int32)[..., None] * brightest // 255, 3, axis=2)
    data = " ".join(map(str, levels.ravel())).encode() if plain else levels.astype(">u2").tobytes()
    file = b"P%d %d %d %d\n" % (3 if plain else 6, *RAMP.shape[::-1], brightest) + data
    gray = np.asarray(preprocess.read(io.BytesIO(file)))[..., 0].astype(int)
    assert np.abs(gray - RAMP).max() <= 1
    if brightest == 65535:
        with pytest.raises(errors.Unreadable, match=r"dataset\.bits is for gray images"):
            preprocess.read(io.BytesIO(file), bits=12)
    else:
        scaled = np.asarray(preprocess.read(io.BytesIO(file), bits=12))[..., 0]
        assert (scaled == gray).all()


def test_an_image_of_too_many_pixels_is_refused_by_its_header(tmp_path):
    Image.new("1", (12_000, 12_000)).save(tmp_path / "large.png")
    whole = (tmp_path / "large.png").read_bytes()
    # Its pixels are damaged, which only decoding them would find.
    (tmp_path / "large.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(errors.Unreadable, match=r"144 megapixels, and 100 are allowed"):
        preprocess.tensor(tmp_path / "large.png", {**HALF, "image_size": 8, "max_megapixels": 100})
    with pytest.raises(errors.Unreadable, match="truncated"):
        preprocess.tensor(tmp_path / "large.png", {**HALF, "image_size": 8, "max_megapixels": 200})


def test_transparency_is_laid_over_white(tmp_path):
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert np.asarray(preprocess.read(tmp_path / "clear.png")).min() == 255


def test_exif_rotation_is_applied(tmp_path):
    image = Image.fromarray(RAMP).convert("RGB")
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert preprocess.read(tmp_path / "turned.jpg").size == (40, 60)


def test_broken_exif_is_ignored(tmp_path, monkeypatch):
    Image.fromarray(RAMP).convert("RGB").save(tmp_path / "image.jpg")

    def damaged(image):
        raise SyntaxError("not a TIFF file")

    monkeypatch.setattr(preprocess.ImageOps, "exif_transpose", damaged)
    assert preprocess.read(tmp_path / "image.jpg").size == (60, 40)


def test_a_file_of_another_format_is_not_opened_whatever_its_name(tmp_path):
    """EPS starts Ghostscript."""
    Image.fromarray(RAMP).convert("RGB").save(tmp_path / "image.eps")
    (tmp_path / "image.eps").rename(tmp_path / "image.jpg")
    with pytest.raises(errors.Unreadable, match=r"image\.jpg cannot be read \(not an image\)"):
        preprocess.read(tmp_path / "image.jpg")


def test_the_whole_image_stays_in_view_and_in_proportion():
    square = preprocess.fit(Image.new("RGB", (100, 50), "white"), 48)
    assert square.shape == (48, 48, 3)
    assert (square[12:36] == 255).all()
    assert not (square[:11] == 255).any()


@pytest.mark.parametrize("size", [(2560, 24), (2560, 1), (24, 2560), (97, 1)])
def test_a_very_long_image_is_not_padding_alone(size):
    square = preprocess.fit(Image.new("RGB", size, "white"), 48)
    assert square.shape == (48, 48, 3)
    white = (square == 255).all(axis=2)
    along = 1 if size[0] > size[1] else 0
    assert white.all(axis=along).sum() == 1
    assert white.sum() == 48


def test_a_short_side_that_pillow_keeps_is_as_pillow_has_it():
    """Files of earlier runs stay the same to the byte."""
    rng = np.random.default_rng(0)
    for width, height in ((90, 1), (49, 1), (48, 1), (1, 70), (60, 40), (2400, 50), (3000, 33)):
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
        padding = (124, 116, 104)
        pillow = preprocess.ImageOps.pad(image, (48, 48), Image.Resampling.BILINEAR, padding)
        assert (preprocess.fit(image, 48) == np.asarray(pillow)).all()


@pytest.mark.parametrize("content", [b"", b"not an image", b"\xff\xd8\xff\xe0" + bytes(40)])
def test_what_is_not_an_image_is_named(tmp_path, content):
    (tmp_path / "bad.jpg").write_bytes(content)
    with pytest.raises(errors.Unreadable, match=r"bad\.jpg cannot be read"):
        preprocess.read(tmp_path / "bad.jpg")


def test_a_truncated_jpeg_is_named(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(
        tmp_path / "cut.jpg"
    )
    whole = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(errors.Unreadable, match=r"cut\.jpg cannot be read"):
        preprocess.read(tmp_path / "cut.jpg")


@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA", "P"])
def test_transparency_is_white_with_a_pillow_that_does_not_tell_of_it(tmp_path, monkeypatch, mode):
    """As before version 10.1, on devices."""
    monkeypatch.delattr(Image.Image, "has_transparency_data")
    file = tmp_path / "image.png"
    clear = Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    if mode == "P":
        clear.convert("P").save(file, transparency=clear.convert("P").getpixel((0, 0)))
    elif mode == "PA":
        Image.new("P", (4, 4)).save(file, transparency=bytes([0]))
    else:
        clear.convert(mode).save(file)
    assert preprocess.read(file).getpixel((0, 0)) == (255, 255, 255)


@given(st.floats(-199, 700))
def test_the_exponential_is_that_of_mathematics(value):
    found = preprocess.exponential(np.array([value]))[0]
    assert found == pytest.approx(math.exp(value), rel=1e-15)


def test_equal_logits_give_equal_probabilities_on_every_machine():
    """The digest was computed once; another machine, or another order of sums, has to give it."""
    logits = (np.arange(-5000, 5000) ** 3 % 7919 / 331).astype(np.float32).reshape(100, 100)
    probabilities = preprocess.softmax(logits)
    assert probabilities.dtype == np.float32
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(100), abs=1e-6)
    digest = hashlib.sha256(probabilities.astype("<f4").tobytes()).hexdigest()
    assert digest == "cc3383c47ec1589fadfab34b0cedd6a0f93470fbca6fbbd50d59b381a58da431"


def test_probabilities_of_what_is_not_a_number_are_none():
    logits = np.array([[1, np.nan, 2], [0, -np.inf, 0], [3e38, 0, 0]], np.float32)
    assert np.isnan(preprocess.softmax(logits)[0]).all()
    assert preprocess.softmax(logits)[1:].tolist() == [[0.5, 0, 0.5], [1, 0, 0]]
