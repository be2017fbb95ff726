"""Text that rules are made of: values, options and patterns for Snakemake."""

import json
import re
import shlex
from collections.abc import Iterable
from pathlib import Path


def settings(values: dict) -> str:
    """A stage's settings as one JSON argument: what Snakemake compares to decide on a rerun."""
    return json.dumps(values, sort_keys=True)


def not_compared(values: dict) -> Path:
    """Settings as one JSON argument that no rerun follows from: Snakemake compares no Path."""
    return Path(settings(values))


def option(name: str, paths: str | Iterable[str] | None) -> str:
    """An option of a stage with its files, quoted for the shell; nothing where there are none."""
    if not paths:
        return ""
    return shlex.join([name, paths] if isinstance(paths, str) else [name, *paths])


def alternatives(names: Iterable[str]) -> str:
    """A wildcard constraint: one of these names; where there are none, nothing at all."""
    return "|".join(map(re.escape, names)) or "(?!)"
