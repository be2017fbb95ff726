"""Every kind of image file becomes the same upright RGB, and the same network input everywhere."""

import numpy as np
import pytest
from beansweep.common import errors
from beansweep.data import preprocess
from PIL import Image

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
