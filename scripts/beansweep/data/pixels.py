"""Images that are decoded once: all of a manifest at one size, in one file that every job reads.

The file is a NumPy array, one row an image. Rows are read by their place in it when they are asked
for, so a job's memory does not grow with the data, and all jobs share the system's copy of what
was read. (A mapped file would be counted as each job's memory.) Where the disk has no room for
the array, images are decoded as they come.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd

from beansweep.common import files, progress
from beansweep.common.errors import UserError
from beansweep.data import images, manifest, preprocess

# Share of the free disk that the array may take; the rest is for models and results.
_SHARE = 0.8


class Selection:
    """Some images in an order. They are read when indexed: `selection[numbers]`.

    Parameters
    ----------
    rows : int [n], what `read` knows the images by
    size : of the images, in pixels
    read : gives the images of some rows: uint8 [count, size, size, 3]
    """

    def __init__(self, rows: np.ndarray, size: int, read: Callable[[np.ndarray], np.ndarray]):
        self._rows, self._read = rows, read
        self.shape = (len(rows), size, size, 3)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, chosen) -> np.ndarray:
        """Images by number, slice or numbers, as of an array [n, size, size, 3]."""
        rows = self._rows[chosen]
        found = self._read(np.atleast_1d(rows))
        return found if np.ndim(rows) else found[0]


class Folder:
    """Images that are decoded as they come.

    Parameters
    ----------
    root : folder of the images
    """

    def __init__(self, root: Path):
        self._root = root

    def select(self, paths: Iterable[str], preprocessing: dict) -> Selection:
        """Images by their paths, as a network with this preprocessing sees them."""
        names = np.array(list(paths), object)

        def read(rows: np.ndarray) -> np.ndarray:
            return images.load(self._root, names[rows], preprocessing)

        return Selection(np.arange(len(names)), preprocessing["image_size"], read)


class Decoded:
    """Images that were decoded once, in the file that `write` made.

    Parameters
    ----------
    array : the file
    seen_as : the part of a network's preprocessing that its images depend on
    paths : of all images, in the order of the array's rows
    """

    def __init__(self, array: Path, seen_as: dict, paths: pd.Series):
        self._array, self._seen_as = array, seen_as
        self._rows = pd.Series(np.arange(len(paths)), index=paths)
        self._file = open(array, "rb", buffering=0)  # noqa: SIM115 (as long as this object)
        shape = _read_header(self._file)
        self._row_shape, self._start = shape[1:], self._file.tell()
        size = seen_as["image_size"]
        if shape != (len(paths), size, size, 3):
            raise UserError(f"{array} is not of the manifest's images: {_again(array)}")

    def select(self, paths: Iterable[str], preprocessing: dict) -> Selection:
        """Images by their paths, as a network with this preprocessing sees them.

        Raises
        ------
        UserError
            The network takes images of another size.
        """
        if _seen_as(preprocessing) != self._seen_as:
            raise UserError(
                f"{self._array} has images for {self._seen_as}, and this network takes "
                f"{_seen_as(preprocessing)}: give the file of those"
            )
        rows = self._rows.loc[list(paths)].to_numpy()
        return Selection(rows, preprocessing["image_size"], self._read)

    def _read(self, rows: np.ndarray) -> np.ndarray:
        pixels = np.empty((len(rows), *self._row_shape), np.uint8)
        for image, row in zip(pixels, rows.tolist(), strict=True):
            place = self._start + row * image.nbytes
            if os.preadv(self._file.fileno(), [image], place) != image.nbytes:
                raise UserError(f"{self._array} ends too early: {_again(self._array)}")
        return pixels


Images = Decoded | Folder


def network_inputs(images: Images, paths: Iterable[str], preprocessing: dict) -> np.ndarray:
    """What a network with this preprocessing reads of some images: float32 [n, 3, size, size]."""
    return preprocess.normalise(images.select(paths, preprocessing)[:], preprocessing)


def _again(array: Path) -> str:
    """How a file of decoded images is made again."""
    return f"remove {array.with_suffix('.json')}, so that the next run makes both again"


def _seen_as(preprocessing: dict) -> dict:
    """The part of a network's preprocessing that its images of 8 bits depend on."""
    return {"image_size": preprocessing["image_size"], "bits": preprocessing.get("bits")}


def read(root: Path, manifest_path: Path, record: Path) -> Images:
    """The images of a manifest: as they were decoded, or where they were not, as they come.

    Parameters
    ----------
    root : folder of the images
    record : as `write` made it, next to the array

    Raises
    ------
    UserError
        The record is of another manifest.
    """
    facts, array = files.read_json(record), record.with_suffix(".npy")
    if facts["manifest_sha256"] != files.sha256(manifest_path):
        raise UserError(f"{record} is not of {manifest_path}: {_again(array)}")
    if facts["stored"] and array.exists():
        paths = manifest.read(manifest_path, ["path"])["path"]
        return Decoded(array, facts["seen_as"], paths)
    reason = f"{array} is gone" if facts["stored"] else "the disk had no room for them decoded"
    progress.say(f"images are read as they come, which takes longer: {reason}")
    return Folder(root)


def write(
    root: Path, manifest_path: Path, preprocessing: dict, cores: int, array: Path, record: Path
) -> None:
    """Decode every image of a manifest, if the disk has room, and record what was done.

    Parameters
    ----------
    root : folder of the images
    preprocessing : image_size (pixels) and bits, of all networks that read the array
    cores : to decode on
    array : file to make, uint8 [n, size, size, 3], in the order of the manifest; without a row
        where there is no room
    record : JSON file to make: digests of the manifest and of the array's rows, what the images
        are seen as, and whether they are stored
    """
    paths = manifest.read(manifest_path, ["path"])["path"].tolist()
    size = preprocessing["image_size"]
    array.parent.mkdir(parents=True, exist_ok=True)
    stored = _has_room(len(paths), size, array.parent)
    with files.replacing(array) as temporary, open(temporary, "wb") as file:
        _write_header(file, (len(paths) if stored else 0, size, size, 3))
        digest = _write_rows(file, root, paths, preprocessing, cores) if stored else None
    facts = {
        "manifest_sha256": files.sha256(manifest_path),
        "seen_as": _seen_as(preprocessing),
        "stored": stored,
        "rows_sha256": digest,
    }
    files.write_json(record, facts)


def _has_room(count: int, size: int, folder: Path) -> bool:
    """Whether a disk has room for so many images of a size (pixels); says what they take."""
    needed, free = count * size * size * 3, shutil.disk_usage(folder).free
    takes = (
        f"decode: {count} images of {size} pixels take {progress.storage(needed)} of disk, and "
        f"{progress.storage(free)} are free"
    )
    if needed <= _SHARE * free:
        progress.say(takes)
        return True
    progress.say(
        f"{takes}: too few, so they are decoded again whenever they are read; free some and add "
        "--forcerun decode to store them"
    )
    return False


def _write_rows(
    file: BinaryIO, root: Path, paths: list[str], preprocessing: dict, cores: int
) -> str:
    """Write decoded images in their order; returns their SHA-256."""
    digest, size = hashlib.sha256(), preprocessing["image_size"]
    decoded = images.decoded(root, paths, preprocessing, cores)
    for image in progress.track(decoded, f"decode: images of {size} pixels", len(paths)):
        file.write(image.data)
        digest.update(image.data)
    return digest.hexdigest()


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """Begin a NumPy array of bytes."""
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _read_header(file: BinaryIO) -> tuple[int, ...]:
    """The shape of a NumPy array; the file is then at its first row."""
    np.lib.format.read_magic(file)
    return np.lib.format.read_array_header_1_0(file)[0]
