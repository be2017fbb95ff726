"""Folders of images: finding the images, checking their names, and a digest of the whole folder."""

import hashlib
import json
import os
import unicodedata
from pathlib import Path

import pandas as pd

from beansweep.common import files
from beansweep.common.errors import UserError
from beansweep.data.preprocess import SUFFIXES
from beansweep.data.splitting import SPLITS

_SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "test": "test"}


def scan(root: str | os.PathLike) -> pd.DataFrame:
    """List the images below a folder laid out as `<split>/<class>/*` or as `<class>/*`.

    Returns
    -------
    Columns path (relative to `root`, with `/`), split (empty where the folder has none), class;
    sorted by path.

    Raises
    ------
    UserError
        The folder is missing, has no images, fewer than two classes, an empty class, a class that
        some split lacks, a link that leads nowhere, or a name that cannot be written down.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(
            f"dataset.root: the folder {root} does not exist; name one that holds "
            "train/val/test/<class>/ or <class>/ folders of images"
        )
    class_folders = _class_folders(root)
    labels = sorted({label for _, label in class_folders})
    _check_class_names(labels)
    rows = []
    for (split, label), folder in class_folders.items():
        for path in _images_in(folder):
            rows.append((path.relative_to(root).as_posix(), split, label))
    _check_classes(root, labels, class_folders)
    found = pd.DataFrame(rows, columns=["path", "split", "class"])
    return found.sort_values("path", ignore_index=True)


def _class_folders(root: Path) -> dict[tuple[str, str], Path]:
    """Folder of each (split, class); the split is empty where the images are not split yet."""
    found = {}
    split_folders = _split_folders(root)
    for split, split_folder in split_folders.items():
        for folder in _visible_folders(split_folder):
            found[split, folder.name] = folder
    if not split_folders:
        for folder in _visible_folders(root):
            found["", folder.name] = folder
    return found


def _split_folders(root: Path) -> dict[str, Path]:
    """Folder of each split, one each of train, val and test; empty where there is none of them."""
    by_split: dict[str, list[Path]] = {split: [] for split in SPLITS}
    for folder in _visible_folders(root):
        split = _SPLIT_FOLDERS.get(folder.name.lower())
        if split:
            by_split[split].append(folder)
    if not any(by_split.values()):
        return {}
    for split, folders in by_split.items():
        if len(folders) != 1:
            found = " and ".join(folder.name for folder in folders) or "no such folder"
            raise UserError(
                f"dataset.root: {root} needs exactly one {split} folder next to its other "
                f"splits, and has {found}; or give it <class>/ folders alone to have them split"
            )
    return {split: folders[0] for split, folders in by_split.items()}


def _visible_folders(root: Path) -> list[Path]:
    """Folders directly below `root` with no dot before their name, sorted by name."""
    return sorted(
        path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")
    )


def _images_in(folder: Path) -> list[Path]:
    """The images of one class, at any depth, sorted.

    Raises
    ------
    UserError
        There is no image, or one that cannot be listed.
    """
    images = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and not path.is_dir():
            _check_image_path(path)
            images.append(path)
    if not images:
        raise UserError(
            f"the class folder {folder} holds no images ({', '.join(SUFFIXES)}): "
            "add some or remove the folder"
        )
    return images


def _check_image_path(path: Path) -> None:
    """Refuse an image that is no file, or has a name that a table cannot hold."""
    if not path.is_file():
        raise UserError(f"{path} is a link that leads nowhere: fix or remove it")
    shown = "".join("?" if _unwritable(letter) else letter for letter in str(path))
    if shown != str(path):
        raise UserError(
            f"the name of {shown} has a line break, another control character, or bytes that are "
            "not UTF-8: rename it"
        )


def _unwritable(letter: str) -> bool:
    """Whether a character is a control character, or a byte that is no text."""
    return unicodedata.category(letter) in ("Cc", "Cs")


def _check_class_names(labels: list[str]) -> None:
    """Refuse names of classes that tables cannot hold, or that could be confused."""
    seen: dict[str, str] = {}
    for label in labels:
        if any(map(_unwritable, label)) or label != label.strip() or set(label) & set("|`"):
            raise UserError(
                f"the class folder {label!r} has a name with a line break, another control "
                "character, a space at an end, | or `: rename it"
            )
        alike = unicodedata.normalize("NFKC", label).casefold()
        if alike in seen:
            raise UserError(
                f"the class folders '{seen[alike]}' and '{label}' have the same name but for case "
                "or the encoding of accents: rename or merge them"
            )
        seen[alike] = label
        # Columns of pareto.csv: recall_low_x is the low end of class x's recall.
        kind, _, other = label.partition("_")
        if kind in ("low", "high") and other in labels:
            raise UserError(
                f"the class folders '{other}' and '{label}' would share a column of pareto.csv: "
                "rename one"
            )


def _check_classes(
    root: Path, labels: list[str], class_folders: dict[tuple[str, str], Path]
) -> None:
    """Refuse fewer than two classes, and a class that a split lacks."""
    if len(labels) < 2:
        raise UserError(
            f"dataset.root: {root} holds {len(labels)} class folder(s), and a classifier needs "
            "at least two; expected train/val/test/<class>/ or <class>/"
        )
    if ("", labels[0]) in class_folders:
        return
    for split in SPLITS:
        for label in labels:
            if (split, label) not in class_folders:
                raise UserError(
                    f"class '{label}' is missing from the {split} split of {root}: "
                    "add its folder or remove the class from the other splits"
                )


def fingerprint(root: str | os.PathLike, cache: Path) -> str:
    """Digest of the path and the bytes of every image below `root`.

    Parameters
    ----------
    root : folder of images, laid out as `scan` takes it
    cache : file that remembers the digest of each image by its size and modification time, so
        that an unchanged folder costs a directory walk; a touched image is read again but
        changes nothing

    Returns
    -------
    SHA-256, hexadecimal
    """
    folder = Path(root).resolve()
    known = files.read_cache(cache, {})
    entries, content = {}, []
    for path in scan(root)["path"]:
        entry = _cache_entry(folder / path, known.get(str(folder / path)))
        entries[str(folder / path)] = entry
        content.append((path, entry[1]))
    if entries != known:
        files.write_json(cache, entries)
    return hashlib.sha256(json.dumps(sorted(content)).encode()).hexdigest()


def _cache_entry(image: Path, known: list | None) -> list:
    """Size and time of an image, and its digest; `known` is its entry of an earlier time."""
    status = image.stat()
    stamp = [status.st_size, status.st_mtime_ns]
    if known and known[0] == stamp:
        return known
    return [stamp, files.sha256(image)]
