"""Files that are written whole or not at all, and their digests."""

import errno
import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Free bytes on a disk that counts as full: fewer than any writer asks for at a time.
_NEARLY_FULL = 16384


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path next to `path`; on success it replaces `path`, else it is deleted.

    What killed processes left of earlier attempts is deleted first.

    Raises
    ------
    OSError
        The disk is full (ENOSPC), whichever error the library raised that met it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{glob.escape(path.stem)}.*{path.suffix}"):
        if _owner_is_gone(leftover):
            leftover.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except Exception as error:
        if shutil.disk_usage(path.parent).free < _NEARLY_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _owner_is_gone(temporary: Path) -> bool:
    """Whether the process that wrote a temporary file has ended; the name has its number."""
    number = temporary.stem.rpartition(".")[2]
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (ValueError, OverflowError, PermissionError):
        pass
    return False


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, value: object) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike):
    """The value in a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def digest(values: object) -> str:
    """Digest of values that JSON can hold."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def read_cache(path: str | os.PathLike, default):
    """The value in a JSON file that can be made again.

    Parameters
    ----------
    default : what is returned where the file is missing, damaged, or holds another type
    """
    try:
        value = read_json(path)
    except (FileNotFoundError, ValueError):
        return default
    return value if isinstance(value, type(default)) else default


def sha256(path: str | os.PathLike) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
