"""Which versions a result was made with: the first line of each stage's log says it."""

import os
import sys
from importlib import metadata
from pathlib import Path
from platform import python_version

from beansweep.common.errors import UserError

# What decides a result's numbers, next to the project's own code.
PACKAGES = (
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "pandas",
    "pillow",
    "scikit-learn",
    "scipy",
    "timm",
    "torch",
    "torchvision",
)
_HEADER = "made with "
_OWN_ENVIRONMENT = "an environment of the rule's own"
# Environment variable: the folder of the Python that runs Snakemake.
_SNAKEMAKE_PREFIX = "BEANSWEEP_SNAKEMAKE_PREFIX"


def offer_this_python() -> None:
    """Let the Python that runs Snakemake run the stages, too.

    It goes first on PATH. A conda environment that a rule has is activated later, within the
    command, and so goes before it; the stage's log then says so (see `header`).

    The bytecode of what a stage imports is kept, also where the environment says otherwise, as that
    of many containers does: else every stage would compile PyTorch again.
    """
    os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    os.environ[_SNAKEMAKE_PREFIX] = sys.prefix
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def installed() -> dict[str, str]:
    """Name -> version, of the interpreter and of `PACKAGES`.

    Raises
    ------
    UserError
        A package is not installed.
    """
    try:
        return {"python": python_version(), **{name: metadata.version(name) for name in PACKAGES}}
    except metadata.PackageNotFoundError as error:
        raise UserError(
            f"the package {error.name} is not installed: set the environment up with make, or "
            "pip install --requirement envs/requirements.txt"
        ) from error


def header() -> str:
    """The first line of a log."""
    made = [f"{name} {version}" for name, version in installed().items()]
    if os.environ.get(_SNAKEMAKE_PREFIX, sys.prefix) != sys.prefix:
        made.append(_OWN_ENVIRONMENT)
    return _HEADER + ", ".join(made)


def _read_header(log: Path) -> dict[str, str]:
    """Name -> version, by a log's first line; empty where they are not to be compared with ours."""
    with open(log, encoding="utf-8", errors="replace") as lines:
        first = lines.readline().rstrip("\n")
    if not first.startswith(_HEADER) or first.endswith(_OWN_ENVIRONMENT):
        return {}
    made = {}
    for entry in first.removeprefix(_HEADER).split(", "):
        name, _, version = entry.partition(" ")
        made[name] = version
    return made


def changed(logs: Path) -> str | None:
    """A sentence on results that were made with other versions than those installed now.

    Parameters
    ----------
    logs : folder of the stages' logs

    Returns
    -------
    The sentence; None where there is no such result
    """
    now = installed()
    before: dict[str, str] = {}
    others = []
    for log in sorted(logs.rglob("*.log")):
        different = {}
        for name, version in _read_header(log).items():
            if now.get(name, version) != version:
                different[name] = version
        if different:
            before |= different
            others.append(log)
    if not others:
        return None
    what = [f"{name} {version} then, {now[name]} now" for name, version in sorted(before.items())]
    return (
        f"other versions made {len(others)} of the results, such as that of {others[0]} "
        f"({', '.join(what)}): they are kept as they are; --forceall makes all of them again"
    )
