"""Which versions a result was made with: the first line of each stage's log says it."""

from importlib import metadata
from pathlib import Path
from platform import python_version

from beansweep.common.errors import UserError

# What decides a result's numbers, beside the project's own code.
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
    return _HEADER + ", ".join(f"{name} {version}" for name, version in installed().items())


def changed(logs: Path) -> str | None:
    """A sentence on results that were made with other versions than are installed now; None where none was."""
    now, before, others = installed(), {}, []
    for log in sorted(logs.rglob("*.log")):
        with open(log, encoding="utf-8", errors="replace") as lines:
            made, _, then = lines.readline().rstrip("\n").partition(_HEADER)
        then = {} if made else dict(each.split(" ", 1) for each in then.split(", ") if " " in each)
        different = {
            name: version for name, version in then.items() if name in now and now[name] != version
        }
        if different:
            before |= different
            others.append(log)
    if not others:
        return None
    what = ", ".join(
        f"{name} {version} then, {now[name]} now" for name, version in sorted(before.items())
    )
    return (
        f"other versions made {len(others)} of the results, such as that of {others[0]} ({what}): "
        "they are kept as they are; --forceall makes all anew"
    )
