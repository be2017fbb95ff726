"""What make finds out by itself, the environment that conda makes, and programs for developers."""

import os
import subprocess
import sys

import conda_environment
import emulator_setup
import pytest
import yaml
from beansweep.common import pinning
from beansweep.common.errors import UserError
from conftest import PROJECT


def make_says(variable: str, **environment: str) -> str:
    """The value of a variable of the Makefile."""
    result = subprocess.run(
        ["make", "--silent", f"--eval=print: ; @echo '$({variable})'", "print"],
        cwd=PROJECT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.strip()


def test_make_uses_all_processors_that_it_may_use():
    assert make_says("CORES", OMP_NUM_THREADS="1") == str(pinning.cpus())
    assert make_says("CORES", CORES="3") == "3"


def test_make_gives_a_home_to_a_user_who_has_none(tmp_path):
    assert make_says("HOME", HOME=str(tmp_path)) == str(tmp_path)
    for environment in ({}, {"HOME": str(tmp_path / "missing")}):
        assert make_says("HOME", **environment) == str(PROJECT / ".snakemake/home")


def test_one_variable_chooses_the_builds_of_pytorch():
    assert make_says("REQUIREMENTS") == "envs/requirements.txt"
    assert make_says("BACKEND") == ""
    assert make_says("REQUIREMENTS", TORCH="cpu") == "envs/requirements-cpu.txt"
    assert make_says("BACKEND", TORCH="cpu") == "--torch-backend cpu"


def test_what_installs_the_packages_is_pinned_too():
    """The Makefile takes these lines out of the file."""
    requirements = conda_environment.REQUIREMENTS.read_text()
    first, *hashes = requirements.partition("\nuv==")[2].split(" \\\n    --hash=sha256:")
    assert first.count(".") == 2
    assert len(hashes) > 5


@pytest.fixture
def packages() -> list[str]:
    """What pip installs in the environment of conda."""
    environment = yaml.safe_load(conda_environment.ENVIRONMENT.read_text())
    return environment["dependencies"][-1]["pip"]


def test_conda_installs_the_pinned_packages():
    requirements = conda_environment.REQUIREMENTS.read_text()
    expected = conda_environment.environment(requirements)
    assert conda_environment.ENVIRONMENT.read_text() == expected, (
        "run scripts/tools/conda_environment.py"
    )


def test_the_environment_of_conda_needs_no_other_file(packages):
    # Snakemake makes it from a copy in a folder of its own.
    assert len(packages) > 100
    for package in packages:
        name, _, version = package.partition(";")[0].partition("==")
        assert name.replace("-", "").replace("_", "").replace(".", "").isalnum(), package
        assert version, package


def test_the_wheels_of_the_emulator_are_pinned_with_their_hashes():
    pins = emulator_setup.pins(conda_environment.REQUIREMENTS.read_text(), ("numpy", "onnxruntime"))
    starts = [line.partition("==")[0] for line in pins.splitlines() if not line.startswith(" ")]
    assert starts == ["numpy", "onnxruntime"]
    assert pins.count("--hash=sha256:") == len(pins.splitlines()) - 2


def test_where_the_emulator_cannot_be_set_up_one_sentence_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(emulator_setup.platform, "machine", lambda: "aarch64")
    with pytest.raises(UserError, match="is for x86-64 machines, and this is aarch64"):
        emulator_setup.main(tmp_path / "emulator")
    monkeypatch.setattr(emulator_setup.platform, "machine", lambda: "x86_64")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"apt-get is not here: run it on Debian"):
        emulator_setup.main(tmp_path / "emulator")
    with pytest.raises(UserError, match="the lists cannot be had: no network"):
        emulator_setup.run("the lists cannot be had", ["/bin/sh", "-c", "echo no network; exit 1"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "tool", sorted((PROJECT / "scripts/tools").glob("*.py")), ids=lambda tool: tool.stem
)
def test_programs_for_developers_find_their_modules(tool, tmp_path):
    """As their documentation starts them: `python scripts/tools/NAME.py`, and nothing set."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    load = f"import runpy; runpy.run_path({str(tool)!r}, run_name='loaded')"
    subprocess.run([sys.executable, "-c", load], cwd=tmp_path, env=environment, check=True)
