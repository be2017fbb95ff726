"""Digests of all stages' code, kept between runs: on a cluster every job reads the Snakefile."""

from pathlib import Path

from beansweep.common import files
from beansweep.settings import code_digest


def of_stages(scripts: Path, cache: Path) -> dict[str, str]:
    """Digest of the code of every stage, by its name; see `code_digest.of_script`.

    Parameters
    ----------
    scripts : folder of the stages' programs and their package
    cache : file that keeps the digests with the size and the time of every file that could change
        one, so that unchanged code is not parsed again

    Raises
    ------
    code_digest.Untraceable
        A stage reaches code in a way that is not followed.
    """
    state, kept = _state(scripts), files.read_cache(cache, {})
    if kept.get("files") == state:
        return kept["digests"]
    digests = {path.stem: code_digest.of_script(path) for path in sorted(scripts.glob("*.py"))}
    files.write_json(cache, {"files": state, "digests": digests})
    return digests


def _state(scripts: Path) -> dict[str, list[int]]:
    """Size and modification time (ns) of each file that a digest may cover, and of this package."""
    found = {}
    for path in sorted(scripts.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            status = path.stat()
            name = path.relative_to(scripts).as_posix()
            found[name] = [status.st_size, status.st_mtime_ns]
    return found
