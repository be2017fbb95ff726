"""What make finds out by itself, and the environment that conda makes."""

import os
import subprocess

import conda_environment
import pytest
import yaml
from beansweep.common import pinning
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
