"""Folders of images: finding the images, checking their names, and a digest of the whole folder."""

import hashlib
import json
import os
import unicodedata
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from beansweep.common import files
from beansweep.common.errors import UserError
from beansweep.data.preprocess import SUFFIXES
from beansweep.data.splitting import SPLITS

# Files and folders that systems and other programs leave, next to those that begin with a dot.
_NOT_THE_USERS = {"__macosx", "@eadir", "thumbs.db", "desktop.ini"}
# So many places are named where files are left out.
_NAMED = 3

_SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
# A folder of this name is the test images, or the validation images where others are the test's.
_EVALUATION = "evaluation"


def scan(root: str | os.PathLike) -> pd.DataFrame:
    """List the images below a folder laid out as `<split>/<class>/*` or as `<class>/*`.

    Of split folders, train is needed. Images without class folders in test cannot be tested on.
    What is missing of val and test is to be drawn from train.

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
        reason = "is no folder" if root.exists() else "does not exist"
        raise UserError(
            f"dataset.root: the folder {root} {reason}; name one that holds "
            "train/val/test/<class>/ or <class>/ folders of images, unpacked"
        )
    split_folders = _split_folders(root)
    class_folders = _class_folders(root, split_folders)
    labels = sorted({label for _, label in class_folders})
    _check_class_names(labels)
    rows = []
    for (split, label), folder in class_folders.items():
        for path in _images_in(folder):
            rows.append((path.relative_to(root).as_posix(), split, label))
    _check_classes(root, labels, split_folders, class_folders)
    found = pd.DataFrame(rows, columns=["path", "split", "class"])
    return found.sort_values("path", ignore_index=True)


def _class_folders(root: Path, split_folders: dict[str, Path]) -> dict[tuple[str, str], Path]:
    """Folder of each (split, class); the split is empty where the images are not split yet."""
    found = {}
    for split, split_folder in split_folders.items():
        for folder in _visible_folders(split_folder):
            found[split, folder.name] = folder
    if not split_folders:
        for folder in _visible_folders(root):
            found["", folder.name] = folder
    return found


def _split_folders(root: Path) -> dict[str, Path]:
    """Folder of each split that has its images by class; empty where there is none.

    Val or test may be missing, or both where nothing else has images. Test may have images without
    class folders, which cannot be tested on.
    """
    by_split = _candidates_of_splits(root)
    if not any(by_split.values()):
        return {}
    others = [folder for folder in _visible_folders(root) if folder not in by_split["train"]]
    # A folder train among others with images may be a class.
    may_be_class = not by_split["val"] + by_split["test"] and any(map(_holds_images, others))
    if by_split["train"] and not may_be_class:
        by_split = {split: folders for split, folders in by_split.items() if folders}
    for split, folders in by_split.items():
        if len(folders) != 1:
            names = " and ".join(folder.name for folder in folders) or "no such folder"
            raise UserError(
                f"dataset.root: {root} needs exactly one {split} folder next to its other "
                f"splits, and has {names}; or give it <class>/ folders alone to have them split, "
                "and rename a class that is called train, val or test"
            )
    found = {split: folders[0] for split, folders in by_split.items()}
    if "test" in found and not _visible_folders(found["test"]) and _files_below(found["test"]):
        del found["test"]
    return found


def _candidates_of_splits(root: Path) -> dict[str, list[Path]]:
    """The folders that are named after each split."""
    by_split: dict[str, list[Path]] = {split: [] for split in SPLITS}
    evaluation = []
    for folder in _visible_folders(root):
        name = folder.name.lower()
        if name in _SPLIT_FOLDERS:
            by_split[_SPLIT_FOLDERS[name]].append(folder)
        elif name == _EVALUATION:
            evaluation.append(folder)
    if any(by_split.values()):
        by_split["val" if by_split["test"] else "test"] += evaluation
    return by_split


def _visible_folders(root: Path) -> list[Path]:
    """The user's own folders directly below `root`, sorted by name.

    Raises
    ------
    UserError
        A link leads nowhere, and may have led to a folder.
    """
    folders = []
    for path in root.iterdir():
        if _is_hidden(path):
            continue
        _check_link(path)
        if path.is_dir():
            folders.append(path)
    return sorted(folders)


def _check_link(path: Path) -> None:
    """Refuse a link that leads nowhere where a folder or an image may be meant."""
    may_matter = not path.suffix or path.suffix.lower() in SUFFIXES
    if may_matter and path.is_symlink() and not path.exists():
        raise UserError(f"{path} is a link that leads nowhere: fix or remove it")


def _is_hidden(path: Path) -> bool:
    """Whether a file or folder is hidden, or another program's."""
    return path.name.startswith(".") or path.name.lower() in _NOT_THE_USERS


def _files_below(folder: Path, hidden: list[Path] | None = None) -> list[Path]:
    """The user's own files below a folder, at any depth, sorted.

    Links to folders are followed, and each folder is visited once, so a loop ends. A link to a
    folder around this one is not followed: it would make all classes images of one.

    Parameters
    ----------
    hidden : takes the hidden files and folders that are left out
    """
    found, visited, waiting = [], set(folder.resolve().parents), [folder]
    while waiting:
        current = waiting.pop()
        if current.resolve() in visited:
            continue
        visited.add(current.resolve())
        for path in current.iterdir():
            if _is_hidden(path):
                if hidden is not None:
                    hidden.append(path)
            elif path.is_dir():
                waiting.append(path)
            else:
                found.append(path)
    return sorted(found)


def _holds_images(folder: Path) -> bool:
    """Whether there are files below a folder that are named as images."""
    return any(path.suffix.lower() in SUFFIXES for path in _files_below(folder))


def likely_splits(found: pd.DataFrame) -> list[str]:
    """A line for the user where class folders look like splits of other names.

    Parameters
    ----------
    found : as `scan` gives it
    """
    inner: dict[str, set[str]] = {}
    for path, split in zip(found["path"], found["split"], strict=True):
        if split:
            return []
        label, *folders, _ = path.split("/")
        inner.setdefault(label, set()).add(folders[0] if folders else "")
    first = next(iter(inner.values()), set())
    # One folder that all have, such as images, is no set of classes.
    if len(first) < 2 or "" in first or any(names != first for names in inner.values()):
        return []
    return [
        f"the class folders {_shortened(list(inner), ' and ')} hold the same folders "
        f"{_shortened(sorted(first), ', ')}: if they are splits, call them train and test"
    ]


def _shortened(names: list[str], joint: str) -> str:
    """Some names for a message, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{joint.join(names[:_NAMED])}{more}"


def left_out(root: str | os.PathLike, used: Collection[str]) -> list[str]:
    """What below a folder of images is not used, in lines for the user.

    Parameters
    ----------
    used : paths of the images that are used, relative to `root`
    """
    root, used = Path(root), set(used)
    hidden: list[Path] = []
    unclassed: list[str] = []
    counts: dict[str, int] = {}
    for path in _files_below(root, hidden):
        name, suffix = path.relative_to(root).as_posix(), path.suffix.lower()
        if suffix not in SUFFIXES:
            place = f"{suffix or 'without a suffix'} in {path.parent.relative_to(root).as_posix()}"
            counts[place] = counts.get(place, 0) + 1
        elif name not in used:
            unclassed.append(name)
    if unclassed:
        # A linked folder may have been read by its other path.
        read = {(root / name).resolve() for name in used}
        unclassed = [name for name in unclassed if (root / name).resolve() not in read]
    lines = []
    if hidden:
        example = min(hidden).relative_to(root).as_posix()
        lines.append(f"{len(hidden)} hidden file(s) or folder(s) are left out, such as {example}")
    if unclassed:
        lines.append(
            f"{len(unclassed)} image(s) are in no class folder and are left out, such as "
            f"{unclassed[0]}"
        )
    if counts:
        lines.append(_other_suffixes(counts))
    return lines


def _other_suffixes(counts: dict[str, int]) -> str:
    """A line on files with suffixes that are not read; `counts` is place -> number of files."""
    places = [f"{count} {place}" for place, count in counts.items()]
    more = f" and {len(places) - _NAMED} more places" if len(places) > _NAMED else ""
    return (
        f"{sum(counts.values())} file(s) with other suffixes are left out: "
        f"{', '.join(places[:_NAMED])}{more}"
    )


def _images_in(folder: Path) -> list[Path]:
    """The images of one class, at any depth, sorted.

    Raises
    ------
    UserError
        There is no image, or one that cannot be listed.
    """
    images = []
    for path in _files_below(folder):
        if path.suffix.lower() in SUFFIXES:
            _check_image_path(path)
            images.append(path)
        else:
            _check_link(path)
    if not images:
        raise UserError(
            f"the class folder {folder} holds no images ({', '.join(SUFFIXES)}): "
            "add some or remove the folder"
        )
    return images


def _check_image_path(path: Path) -> None:
    """Refuse an image that is no file, or has a name that a table cannot hold."""
    if not path.is_file():
        raise UserError(f"{path} is no file, or a link that leads nowhere: fix or remove it")
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
    root: Path,
    labels: list[str],
    splits: Collection[str],
    class_folders: dict[tuple[str, str], Path],
) -> None:
    """Refuse fewer than two classes, and a class that a split lacks."""
    if len(labels) < 2:
        inner = root / labels[0] if labels and not splits else root
        hint = f"; did you mean {inner}?" if inner != root and _visible_folders(inner) else ""
        raise UserError(
            f"dataset.root: {root} holds {len(labels)} class folder(s), and a classifier needs "
            f"at least two; expected train/val/test/<class>/ or <class>/{hint}"
        )
    for split in splits:
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
    cache : file that remembers the digest of each image by its size and the times of its last
        modification and change, so that an unchanged folder costs a directory walk; a touched or
        moved image is read again

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
    """Size and times of an image, and its digest; `known` is its entry of an earlier time."""
    status = image.stat()
    # A file that takes another's name keeps its modification time, but not its change time.
    stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    if known and known[0] == stamp:
        return known
    return [stamp, files.sha256(image)]
