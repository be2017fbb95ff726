"""Set up the emulator that `devices` in config.yaml needs: `make arm`.

    python scripts/tools/emulator_setup.py FOLDER

Debian's QEMU and a Python of ARM's come from the mirrors that this machine's apt knows, without
root: apt gets lists and folders of its own, and packages are only unpacked. Wheels for ARM are
those of envs/requirements.txt, with their hashes. All of it lies in FOLDER.
"""

import os
import platform
import shutil
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from beansweep.common import emulator, progress
from beansweep.common.errors import UserError

_REQUIREMENTS = Path(__file__).resolve().parents[2] / "envs/requirements.txt"
# Debian's packages, of which apt finds out what else they need.
_QEMU = "qemu-user-static"
_ARM_PACKAGES = ("python3-minimal:arm64", "libpython3-stdlib:arm64", "libstdc++6:arm64")
_WHEELS = ("numpy", "onnxruntime")
# Wheels say which C library they need at least. Debian 12 has 2.36.
_C_LIBRARIES = range(17, 37)
_APT = """\
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; "arm64"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "";
Debug::NoLocking "true";
Dir::State::status "{folder}/status";
Dir::State::lists "{folder}/lists";
Dir::Cache "{folder}";
"""
# ONNX Runtime reads this file, and QEMU shows programs what lies below their system's folder. With
# the file of an x86 machine it crashes. Which kernels it takes does not depend on the file.
_CPUINFO = """\
processor\t: 0
Features\t: fp asimd
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3
"""


def main(folder: Path) -> None:
    started = time.monotonic()
    check_machine()
    # Built next to its place, so that a half of it is never taken for the whole.
    building = folder.with_name(f"{folder.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    packages, system = building / "packages", building / emulator.ARM_SYSTEM
    download(packages)
    unpack(packages, system, building)
    shutil.rmtree(packages)
    install_wheels(system)
    write_cpuinfo(system)
    try_out(building)
    (building / emulator.READY).write_text(metadata.version("onnxruntime"))
    shutil.rmtree(folder, ignore_errors=True)
    building.rename(folder)
    seconds = time.monotonic() - started
    print(
        f"make arm: the emulator is in {folder}: {progress.storage(size(folder))} of disk, "
        f"set up in {seconds:.0f} s"
    )


def check_machine() -> None:
    """Check that this is an x86 machine with Debian's tools."""
    if platform.machine() != "x86_64":
        raise UserError(f"the emulator is for x86-64 machines, and this is {platform.machine()}")
    for program in ("apt-get", "dpkg-deb"):
        if not shutil.which(program):
            raise UserError(
                f"this needs Debian's packages, and {program} is not here: run it on Debian"
            )


def download(folder: Path) -> None:
    """Download Debian's packages to a folder."""
    for name in ("lists/partial", "archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    settings = folder / "apt.conf"
    settings.write_text(_APT.format(folder=folder.resolve()))
    print("make arm: Debian's packages", flush=True)
    environment = {**os.environ, "APT_CONFIG": str(settings)}
    run("Debian's package lists cannot be had", ["apt-get", "update"], environment)
    command = ["apt-get", "install", "--download-only", "--yes", f"{_QEMU}:amd64", *_ARM_PACKAGES]
    run("Debian's packages for ARM cannot be had", command, environment)


def unpack(packages: Path, system: Path, programs: Path) -> None:
    """Unpack the packages of ARM's to a system of its own, and take QEMU's two programs."""
    for package in sorted(packages.glob("archives/*_arm64.deb")):
        run("a package is damaged", ["dpkg-deb", "--extract", str(package), str(system)])
    if not (system / "lib").exists():
        # From Debian 13 on, another package than the C library's makes this link.
        (system / "lib").symlink_to("usr/lib")
    for package in packages.glob("archives/qemu-user*_amd64.deb"):
        run("a package is damaged", ["dpkg-deb", "--extract", str(package), str(packages / "qemu")])
    for name in ("qemu-aarch64", "qemu-x86_64"):
        # Static programs have this ending up to Debian 12, and later all of them are static.
        found = [
            *packages.glob(f"qemu/usr/bin/{name}-static"),
            *packages.glob(f"qemu/usr/bin/{name}"),
        ]
        if not found:
            raise UserError(f"Debian's {_QEMU} has no {name}")
        shutil.copy(found[0], programs / name)


def install_wheels(system: Path) -> None:
    """Install the pinned wheels for ARM, with their hashes checked."""
    print("make arm: wheels for ARM", flush=True)
    version = os.readlink(system / "usr/bin/python3").removeprefix("python")
    needed = system / "requirements.txt"
    needed.write_text(pins(_REQUIREMENTS.read_text(), _WHEELS))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--require-hashes", "--only-binary", ":all:"]
    command += ["--python-version", version, "--requirement", str(needed)]
    for library in _C_LIBRARIES:
        command += ["--platform", f"manylinux_2_{library}_aarch64"]
    # Debian's Python looks for packages there.
    command += ["--target", str(system / "usr/lib/python3/dist-packages")]
    run("the wheels for ARM cannot be had", command)


def pins(requirements: str, names: tuple[str, ...]) -> str:
    """The entries of some packages in a file of requirements, with their hashes."""
    chosen, wanted = [], False
    for line in requirements.splitlines(keepends=True):
        if not line.startswith(" "):
            wanted = line.partition("==")[0] in names
        if wanted:
            chosen.append(line)
    return "".join(chosen)


def write_cpuinfo(system: Path) -> None:
    (system / "proc").mkdir()
    (system / "proc/cpuinfo").write_text(_CPUINFO)


def try_out(folder: Path) -> None:
    """Import ONNX Runtime on a processor of each architecture."""
    for processor in ("cortex-a53", "Nehalem"):
        command = [*emulator.python(folder, processor), "-c", "import onnxruntime"]
        run(f"ONNX Runtime does not start as on {processor}", command, emulator.environment())


def size(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*"))


def run(failure: str, command: list[str], environment: dict[str, str] | None = None) -> None:
    """Run a command.

    Raises
    ------
    UserError
        It fails: `failure`, with the last line that it printed.
    """
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "it says nothing").splitlines()[-1]
        raise UserError(f"{failure}: {said}")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except UserError as error:
        sys.exit(f"make arm: {error}")
