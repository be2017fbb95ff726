"""Folders of images: finding them, splitting them, and telling near-duplicates apart."""

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
    folders = _folders(root)
    split_names = {
        folder.name: _SPLIT_FOLDERS[folder.name.lower()]
        for folder in folders
        if folder.name.lower() in _SPLIT_FOLDERS
    }
    if split_names:
        for split in SPLITS:
            named = [name for name, of in split_names.items() if of == split]
            if len(named) != 1:
                have = " and ".join(named) or "no such folder"
                raise UserError(
                    f"dataset.root: {root} needs exactly one {split} folder beside its other "
                    f"splits, and has {have}; or give it <class>/ folders alone to have them split"
                )
        classes = {
            (split, folder.name): folder
            for name, split in split_names.items()
            for folder in _folders(root / name)
        }
    else:
        classes = {("", folder.name): folder for folder in folders}
    labels = sorted({label for _, label in classes})
    _check_classes(labels)
    rows = []
    for (split, label), folder in classes.items():
        images = sorted(
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in SUFFIXES and not path.is_dir()
        )
        for path in images:
            _check_path(path)
        if not images:
            raise UserError(
                f"the class folder {folder} holds no images ({', '.join(SUFFIXES)}): "
                "add some or take the folder away"
            )
        rows += [(path.relative_to(root).as_posix(), split, label) for path in images]
    if len(labels) < 2:
        raise UserError(
            f"dataset.root: {root} holds {len(labels)} class folder(s), and a classifier needs "
            "at least two; expected train/val/test/<class>/ or <class>/"
        )
    for split in SPLITS if split_names else ():
        for label in labels:
            if (split, label) not in classes:
                raise UserError(
                    f"class '{label}' is missing from the {split} split of {root}: "
                    "add its folder or take the class away from the others"
                )
    return pd.DataFrame(rows, columns=["path", "split", "class"]).sort_values(
        "path", ignore_index=True
    )


def _check_path(path: Path) -> None:
    """Refuse an image that is no file, or whose name a table cannot hold."""
    if not path.is_file():
        raise UserError(f"{path} is a link that leads nowhere: mend it or take it away")
    shown = "".join("?" if _unwritable(letter) else letter for letter in str(path))
    if shown != str(path):
        raise UserError(
            f"the name of {shown} has a line break, another control character, or bytes that are not "
            "UTF-8: rename it"
        )


def _unwritable(letter: str) -> bool:
    """Whether a character is a control character, or a byte that is no text."""
    return unicodedata.category(letter) in ("Cc", "Cs")


def _check_classes(labels: list[str]) -> None:
    """Refuse names of classes that tables cannot hold, or that are taken for one another."""
    seen = {}
    for label in labels:
        if any(map(_unwritable, label)) or label != label.strip() or set(label) & set("|`"):
            raise UserError(
                f"the class folder {label!r} has a name with a line break, another control character, a "
                "space at an end, | or `: rename it"
            )
        alike = unicodedata.normalize("NFKC", label).casefold()
        if alike in seen:
            raise UserError(
                f"the class folders '{seen[alike]}' and '{label}' have the same name but for case or the "
                "encoding of accents: rename or merge them"
            )
        seen[alike] = label
        # Columns of pareto.csv: recall_low_x is the low end of class x's recall.
        kind, _, of = label.partition("_")
        if kind in ("low", "high") and of in labels:
            raise UserError(
                f"the class folders '{of}' and '{label}' would share a column of pareto.csv: rename one"
            )


def _folders(root: Path) -> list[Path]:
    """Visible folders directly below `root`, sorted by name."""
    return sorted(
        path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")
    )


def fingerprint(root: str | os.PathLike, cache: Path) -> str:
    """Digest of every image's path and bytes below `root`.

    `cache` remembers each file's digest by its size and modification time, so that an unchanged
    folder costs a directory walk, and a touched file is read again but changes nothing.
    """
    known = files.read_cache(cache, {})
    digests = {}
    for path in scan(root)["path"]:
        full = Path(root).resolve() / path
        status = full.stat()
        stamp = [status.st_size, status.st_mtime_ns]
        entry = known.get(str(full))
        digests[str(full)] = entry if entry and entry[0] == stamp else [stamp, files.sha256(full)]
    if digests != known:
        files.write_json(cache, digests)
    base = Path(root).resolve()
    content = sorted(
        (Path(path).relative_to(base).as_posix(), digest) for path, (_, digest) in digests.items()
    )
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
