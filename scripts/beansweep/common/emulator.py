"""The emulator: programs of another processor run here, slowly, with that processor's results.

QEMU's user mode translates the instructions of a single process. `make arm` sets it up in a folder,
with a Python of ARM's (scripts/tools/emulator_setup.py). Python for x86 is the one that runs now.
"""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from beansweep.common import progress
from beansweep.common.errors import UserError

# What `make arm` leaves in its folder: the version of ONNX Runtime there, and a system of ARM's.
READY, ARM_SYSTEM = "ready", "aarch64"
# ARM's processors by QEMU's names; all others are of x86.
_ARM_NAMES = ("cortex-", "neoverse-", "a64fx", "max")
# Seconds for an image of 96 pixels on one core, from mobilenet_v3_small in INT8 to efficientnet_b0
# in float. AVX, which is wide, takes longest.
_SECONDS = {"aarch64": (0.1, 0.9), "x86_64": (0.2, 10)}


def architecture(processor: str) -> str:
    """The architecture of a processor.

    Parameters
    ----------
    processor : QEMU's name and, after commas, what it has and has not: `max,sme=off`

    Returns
    -------
    aarch64 or x86_64
    """
    return "aarch64" if processor.startswith(_ARM_NAMES) else "x86_64"


def python(folder: Path, processor: str) -> list[str]:
    """The command that starts Python on a processor.

    Parameters
    ----------
    folder : of the emulator
    processor : as for `architecture`
    """
    kind = architecture(processor)
    qemu = [str(folder / f"qemu-{kind}"), "-cpu", processor]
    if kind == "x86_64":
        return [*qemu, sys.executable]
    system = folder / ARM_SYSTEM
    return [*qemu, "-L", str(system), str(system / "usr/bin/python3")]


def check(folder: Path, processor: str, key: str) -> None:
    """Check that a processor can be emulated.

    Parameters
    ----------
    folder : of the emulator
    processor : as for `architecture`
    key : of the configuration that names it

    Raises
    ------
    UserError
        The emulator is not set up, has another ONNX Runtime, or does not know the processor.
    """
    version = metadata.version("onnxruntime")
    if not (folder / READY).exists():
        raise UserError(f"{key}: there is no emulator in {folder}: set it up with make arm")
    if (folder / READY).read_text() != version:
        raise UserError(
            f"{key}: the emulator in {folder} is not for ONNX Runtime {version}: remove that "
            "folder and set it up again with make arm"
        )
    command = [*python(folder, processor), "--version"]
    tried = subprocess.run(command, capture_output=True, text=True, env=environment())
    if tried.returncode:
        raise UserError(
            f"{key}: QEMU has no processor {processor} ({_last_line(tried.stderr)}): name one of "
            f"ARM ({', '.join(_known(folder))}) or of x86, such as Haswell"
        )


def environment(modules: Path | None = None) -> dict[str, str]:
    """The environment variables of an emulated Python.

    Parameters
    ----------
    modules : folder of the modules that it may import next to its own packages
    """
    kept = {name: os.environ[name] for name in os.environ if not name.startswith("PYTHON")}
    return {**kept, "PYTHONPATH": str(modules)} if modules else kept


def duration(images: float, size: float, processor: str) -> str:
    """How long it takes to predict images on one core, in words: a range, for networks differ.

    Parameters
    ----------
    images : how many
    size : of each, in pixels
    processor : as for `architecture`
    """
    scale = images * (size / 96) ** 2
    low, high = (scale * seconds for seconds in _SECONDS[architecture(processor)])
    return f"{progress.duration(low)} to {progress.duration(high)}"


def _known(folder: Path) -> list[str]:
    """ARM's processors that QEMU knows."""
    command = [str(folder / "qemu-aarch64"), "-cpu", "help"]
    said = subprocess.run(command, capture_output=True, text=True).stdout
    return [line.strip() for line in said.splitlines()[1:]]


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]
