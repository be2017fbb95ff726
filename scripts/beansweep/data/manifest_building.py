"""Building the manifest: every image is read once, and near-duplicates are found."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from beansweep.common import files, progress, threads
from beansweep.common.errors import Unreadable, UserError
from beansweep.data import image_folders, near_duplicates, preprocess, splitting
from beansweep.data.manifest import BLANK, FEW, small_classes

# So many unreadable images are named on the terminal; the log has all.
_NAMED = 10


def build(root: Path, settings: dict, cores: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Inspect a folder of images, split it where it is not split, and find near-duplicates.

    Parameters
    ----------
    root : folder of images, laid out as `image_folders.scan` takes it
    settings : fractions and seed of the random splits, on_leakage (warn, drop or fail),
        on_unreadable (fail or skip), bits and max_megapixels, as in config.yaml
    cores : to read and compare images on

    Returns
    -------
    The manifest, one row an image: path, split, class, sha256, bytes, width, height (pixels),
    contrast (standard deviation of the thumbnail's gray levels), and group (images that share a
    number are near-duplicates).

    The near-duplicates, one row a pair: path, split and class of both, correlation,
    crosses_splits and crosses_classes. Splits are those before any image was dropped.

    Raises
    ------
    UserError
        The folder cannot be used or split, dropping near-duplicates empties a class of a split,
        near-duplicates cross splits and on_leakage is fail, or all images of a class are skipped.
    Unreadable
        Images cannot be read, and on_unreadable is fail.
    """
    found = image_folders.scan(root)
    for line in image_folders.left_out(root, found["path"]):
        progress.say(f"dataset: {line}")
    for line in image_folders.likely_splits(found):
        progress.say(f"dataset: warning: {line}")
    manifest, thumbnails = _inspect(root, found, settings, cores)

    def read_gray(number: int) -> Image.Image:
        path = root / manifest["path"].iloc[number]
        return preprocess.read(path, None, settings["bits"]).convert("L")

    digests = manifest.pop("pixels").tolist()
    pairs = near_duplicates.find_pairs(thumbnails, digests, read_gray, cores)
    manifest["group"] = near_duplicates.duplicate_groups(len(manifest), pairs)
    manifest["split"] = _all_splits(manifest, settings)
    pair_table = _pair_table(manifest, pairs)
    _check_leakage(pair_table, settings["on_leakage"])
    _warn(manifest, pair_table)
    if settings["on_leakage"] == "drop":
        manifest["split"] = _splits_without_leaks(manifest)
    if settings["fractions"]["pick"]:
        manifest["split"] = _splits_with_pick(manifest, settings)
    _say_counts(manifest)
    return manifest, pair_table


def _inspect(
    root: Path, found: pd.DataFrame, settings: dict, cores: int
) -> tuple[pd.DataFrame, np.ndarray]:
    """Read every image: the rows with more columns, and thumbnails uint8 [n, 32, 32]."""
    rows: list[_Row] = []
    unreadable, brightest = {}, {}
    thumbnails = np.empty((len(found), *[near_duplicates.THUMBNAIL] * 2), np.uint8)
    inspected = threads.ordered(
        lambda path: _inspect_one(root, path, settings), found["path"], cores
    )
    for path, image in progress.track(inspected, "dataset: inspecting images", len(found)):
        if isinstance(image, Unreadable):
            unreadable[path] = image
            continue
        thumbnails[len(rows)] = image.thumbnail
        rows.append(image.row)
        if image.brightest is not None:
            brightest[path] = image.brightest
    _say_depth(brightest, settings["bits"])
    if unreadable:
        _refuse_or_skip(unreadable, settings["on_unreadable"])
        readable = found[~found["path"].isin(unreadable)].reset_index(drop=True)
        _check_nothing_is_lost(found, readable)
        found = readable
    return pd.concat([found, pd.DataFrame(rows)], axis=1), thumbnails[: len(rows)]


class _Row(NamedTuple):
    """The columns of the manifest that an image's file tells, with the digest of its pixels."""

    pixels: str
    sha256: str
    bytes: int
    width: int
    height: int
    contrast: float


class _Inspected(NamedTuple):
    """What is kept of an image; `brightest` is its brightest level where it is a deep one."""

    row: _Row
    thumbnail: np.ndarray
    brightest: int | None


def _inspect_one(root: Path, path: str, settings: dict) -> _Inspected | Unreadable:
    """Read one image."""
    bits, brightest = settings["bits"], None
    try:
        stored, used = preprocess.decode(root / path, None, bits, settings["max_megapixels"])
    except Unreadable as error:
        return error
    if used == (bits or 16) and (used == 16 or preprocess.is_deep_gray(stored)):
        brightest = _brightest_level(stored)
    image = preprocess.to_rgb(stored, used)
    thumbnail = near_duplicates.thumbnail(image)
    row = _Row(
        hashlib.sha256(image.tobytes()).hexdigest(),
        files.sha256(root / path),
        (root / path).stat().st_size,
        *image.size,
        round(float(thumbnail.std()), 2),
    )
    return _Inspected(row, thumbnail, brightest)


def _brightest_level(image: Image.Image) -> int:
    """The brightest level of a deep image, from 0 to 65535; colour is decoded to 8 bits."""
    if preprocess.is_deep_gray(image):
        return int(np.asarray(image).max())
    return 257 * int(np.asarray(image.convert("RGB")).max())


def _say_depth(brightest: dict[str, int], bits: int | None) -> None:
    """Warn where 16-bit images use a small part of their range, or some more than `bits`.

    Parameters
    ----------
    brightest : path -> the brightest level, of each image that is stored in 16 bits
    bits : dataset.bits
    """
    whole = 2 ** (bits or 16)
    dark = [path for path, level in brightest.items() if level < whole / 4]
    # Fewer may well be dark in truth.
    if dark and len(dark) >= len(brightest) / 10:
        _say_dark(dark, brightest, whole)
    clipped = sum(level >= whole for level in brightest.values())
    if clipped:
        progress.say(
            f"dataset: warning: {clipped} image(s) have levels of more than {bits} bits, which are "
            "white: raise dataset.bits"
        )


def _say_dark(dark: list[str], brightest: dict[str, int], whole: int) -> None:
    """Warn that all 16-bit images, or a part of them, seem to be from a camera of fewer bits."""
    highest = max(brightest[path] for path in dark)
    levels = f"with levels up to {highest} of {whole - 1}"
    if len(dark) == len(brightest):
        needed = max(8, highest.bit_length())
        progress.say(
            f"dataset: warning: all {len(dark)} 16-bit image(s) are dark, {levels}: "
            f"if the camera has fewer bits, such as {needed}, set "
            "dataset.bits to them (gray), or save the images with 8 bits (colour)"
        )
        return
    progress.say(
        f"dataset: warning: {len(dark)} of {len(brightest)} 16-bit image(s) are dark, {levels}, "
        f"such as {dark[0]}: if their camera has fewer bits than that of the others, save all "
        "images with 8 bits; where one class has one camera, darkness gives the class away"
    )


def _refuse_or_skip(unreadable: dict[str, Unreadable], on_unreadable: str) -> None:
    """Name all images that cannot be read: as an error, or as a warning where they are skipped."""
    for error in unreadable.values():
        print(error)
    names = ", ".join(list(unreadable)[:_NAMED])
    more = f" and {len(unreadable) - _NAMED} more" if len(unreadable) > _NAMED else ""
    if on_unreadable == "skip":
        progress.say(
            f"dataset: warning: {len(unreadable)} image(s) cannot be read and are skipped: "
            f"{names}{more}"
        )
        return
    if len(unreadable) == 1:
        (error,) = unreadable.values()
        raise Unreadable(f"{error}, or set dataset.on_unreadable to skip")
    raise Unreadable(
        f"{len(unreadable)} images cannot be read ({names}{more}): replace or remove them, or set "
        "dataset.on_unreadable to skip"
    )


def _check_nothing_is_lost(found: pd.DataFrame, readable: pd.DataFrame) -> None:
    """Refuse to skip all images of a class, in a split or at all."""
    before, after = (
        set(zip(rows["split"], rows["class"], strict=True)) for rows in (found, readable)
    )
    for split, label in sorted(before - after):
        raise UserError(
            f"class '{label}'{f' has no image in {split}' if split else ' has no image'} that can "
            "be read: replace its images"
        )


def _all_splits(manifest: pd.DataFrame, settings: dict) -> np.ndarray:
    """The split of every image, str [n]: that of its folder, or drawn at random.

    Images without split folders are all drawn. Where the folders have no validation or no test
    images, these are drawn from the training images; with on_leakage drop, from those that stay.
    """
    splits = manifest["split"].to_numpy(copy=True)
    missing = [split for split in ("val", "test") if split not in splits]
    if not missing:
        return splits
    drawn = np.isin(splits, ("", "train"))
    if settings["on_leakage"] == "drop":
        groups = manifest["group"].to_numpy()
        drawn &= ~np.isin(groups, groups[~drawn])
    if (splits != "").any():
        progress.say(
            f"dataset: there are no {' and no '.join(missing)} images with classes, so they are "
            f"drawn from train ({', '.join(str(settings['fractions'][split]) for split in missing)}"
            " of each class, dataset.fractions)"
        )
    fractions = {split: settings["fractions"][split] for split in missing}
    splits[drawn] = _random_splits(manifest[drawn], fractions, settings["seed"])
    return splits


def _random_splits(manifest: pd.DataFrame, fractions: dict, seed: int) -> np.ndarray:
    """Splits that are drawn for some images: str [n]."""
    splits = splitting.assign_splits(
        manifest["class"].to_numpy(), manifest["group"].to_numpy(), fractions, seed
    )
    missing = _missing_class(manifest["class"], splits, ["train", *fractions])
    if missing:
        label, split = missing
        raise UserError(
            f"class '{label}' has too few distinct images for a {split} share: "
            "add images, or lay them out as train/val/test/<class>/ yourself"
        )
    return splits


def _splits_without_leaks(manifest: pd.DataFrame) -> np.ndarray:
    """Splits in which near-duplicates of images that are held out more are dropped: str [n]."""
    splits = splitting.drop_leaks(manifest["split"].to_numpy(), manifest["group"].to_numpy())
    missing = _missing_class(manifest["class"], splits, splitting.SPLITS)
    if missing:
        label, split = missing
        raise UserError(
            f"dataset.on_leakage: with near-duplicates dropped, class '{label}' has no image left "
            f"in {split}: add images, or set it to warn"
        )
    return splits


def _splits_with_pick(manifest: pd.DataFrame, settings: dict) -> np.ndarray:
    """Splits in which a part of the validation images is set aside for the pick: str [n]."""
    splits = manifest["split"].to_numpy(copy=True)
    is_val = splits == "val"
    labels, groups = manifest["class"].to_numpy()[is_val], manifest["group"].to_numpy()[is_val]
    fractions = {splitting.PICK: settings["fractions"]["pick"]}
    splits[is_val] = splitting.assign_splits(
        labels, groups, fractions, settings["seed"], rest="val"
    )
    missing = _missing_class(manifest["class"], splits, ["val", splitting.PICK])
    if missing:
        raise UserError(
            f"dataset.fractions.pick: class '{missing[0]}' has too few distinct validation images "
            "to set some aside: add images, or set it to 0"
        )
    return splits


def _missing_class(
    labels: pd.Series, splits: np.ndarray, wanted: Sequence[str]
) -> tuple[str, str] | None:
    """The first class and wanted split without any image; None where there is none."""
    for label in sorted(labels.unique()):
        for split in wanted:
            if split not in splits[labels.to_numpy() == label]:
                return label, split
    return None


def _pair_table(manifest: pd.DataFrame, pairs: dict[tuple[int, int], float]) -> pd.DataFrame:
    """One row a pair: those that cross splits first, then those of two classes."""
    indices = np.array(list(pairs), int).reshape(-1, 2)
    columns = ["path", "split", "class"]
    first = manifest.iloc[indices[:, 0]][columns].reset_index(drop=True).add_prefix("first_")
    second = manifest.iloc[indices[:, 1]][columns].reset_index(drop=True).add_prefix("second_")
    table = pd.concat([first, second], axis=1)
    table["correlation"] = list(pairs.values())
    table["crosses_splits"] = table["first_split"] != table["second_split"]
    table["crosses_classes"] = table["first_class"] != table["second_class"]
    return table.sort_values(
        ["crosses_splits", "crosses_classes", "correlation"], ascending=False, kind="stable"
    )


def _check_leakage(pairs: pd.DataFrame, on_leakage: str) -> None:
    """Warn of near-duplicates that cross splits, or refuse them where on_leakage is fail."""
    crossing = pairs[pairs["crosses_splits"]]
    if crossing.empty:
        return
    found = (
        f"{len(crossing)} pair(s) of near-duplicates lie across splits, such as "
        f"{_example(crossing)}"
    )
    if on_leakage == "fail":
        raise UserError(
            f"{found}: remove one of each pair, or set dataset.on_leakage to drop or warn"
        )
    dropped = "; they are dropped where less held out" if on_leakage == "drop" else ""
    progress.say(f"dataset: warning: {found}{dropped}")


def _warn(manifest: pd.DataFrame, pairs: pd.DataFrame) -> None:
    """Warn of near-duplicates with two classes, and of blank images."""
    conflicting = pairs[pairs["crosses_classes"]]
    if len(conflicting):
        progress.say(
            f"dataset: warning: {len(conflicting)} pair(s) of near-duplicates have two classes, "
            f"such as {_example(conflicting)}"
        )
    blank = manifest.loc[manifest["contrast"] < BLANK, "path"]
    if len(blank):
        progress.say(f"dataset: warning: {len(blank)} image(s) are blank, such as {blank.iloc[0]}")


def _example(pairs: pd.DataFrame) -> str:
    """The paths of the first pair, for a message."""
    return f"{pairs['first_path'].iloc[0]} and {pairs['second_path'].iloc[0]}"


def _say_counts(manifest: pd.DataFrame) -> None:
    """Print how many images each split has, and which classes are too small in it."""
    counts = []
    for split in (*splitting.SPLITS, splitting.PICK):
        count = (manifest["split"] == split).sum()
        if count or split != splitting.PICK:
            counts.append(f"{count} {split}")
    classes = manifest["class"].nunique()
    progress.say(f"dataset: {', '.join(counts)} images in {classes} classes")
    small = small_classes(manifest)
    if small:
        more = f" and {len(small) - _NAMED} more" if len(small) > _NAMED else ""
        progress.say(
            f"dataset: warning: fewer than {FEW} images leave the recall of a class open "
            f"({', '.join(small[:_NAMED])}{more}): add some"
        )
