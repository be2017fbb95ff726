"""A sweep through Slurm, on a Slurm of its own: `make test-slurm`."""

import contextlib
import importlib.util
import subprocess
import sys
import time

import one_machine_slurm
import pytest
import yaml
from conftest import PROJECT, digests, keep_backbone_names, snakemake

SMALLEST = {
    "generate": {"image_size": 32, "images": {"train": 4, "val": 3, "test": 3}},
    "backbones": ["squeezenet1_1"],
    "train": {"image_size": 32, "epochs": 1, "batch_size": 8},
    "calibration": {"minmax": {"images": 4}},
    "variants": {
        "int8_static": {"calibration": ["minmax"]},
        **dict.fromkeys(
            ("int8_ort_default", "int8_mixed", "int8_qat", "int8_weight_only", "int8_dynamic")
        ),
    },
    "bench": {"processes": 2, "rounds": 2, "queries": 3, "warmup": 1, "finalist_minutes": 0},
}
# What a Slurm without accounting needs, and a test that does not wait.
OPTIONS = {
    "slurm-no-account": True,
    "slurm-status-command": "squeue",
    "slurm-init-seconds-before-status-checks": 1,
    "seconds-between-status-checks": 1,
    "latency-wait": 10,
}


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """The environment of a Slurm that runs here for these tests."""
    missing = one_machine_slurm.missing()
    if missing:
        pytest.skip(f"Slurm is not installed: {', '.join(missing)} of slurm-wlm and munge")
    if not importlib.util.find_spec("snakemake_executor_plugin_slurm"):
        pytest.skip("Snakemake's plugin for Slurm is not installed: make test-slurm has it")
    with one_machine_slurm.running(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


@pytest.fixture
def folder(tmp_path):
    """A working folder with the smallest sweep, and the project's profile for Slurm."""
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(SMALLEST))
    profile = tmp_path / "profile/config.yaml"
    profile.parent.mkdir()
    text = (PROJECT / "workflow/profiles/slurm/config.yaml").read_text()
    profile.write_text(text + yaml.safe_dump(OPTIONS))
    keep_backbone_names(tmp_path)
    return tmp_path


@contextlib.contextmanager
def running(folder, environment, *arguments):
    """A run through Slurm, which ends with the block at the latest; `run.log` has what it says."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", PROJECT / "Snakefile"]
    command += [*arguments, "--profile", folder / "profile", "--configfile", "sweep.yaml"]
    with (
        (folder / "run.log").open("w") as log,
        subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log) as run,
    ):
        try:
            yield run
        finally:
            run.kill()


def kill_when_it_runs(rule: str, environment: dict) -> None:
    """Kill the job of a rule, once it runs on a node."""
    for _ in range(1200):
        jobs = subprocess.run(
            ["squeue", "--noheader", "--format=%i %t %k"],
            env=environment,
            capture_output=True,
            text=True,
        )
        for line in jobs.stdout.splitlines():
            number, state, comment = line.split()
            if comment.startswith(f"rule_{rule}") and state == "R":
                subprocess.run(["scancel", number], env=environment, check=True)
                return
        time.sleep(0.2)
    raise TimeoutError(f"{rule} did not run: {jobs.stdout}{jobs.stderr}")


def test_a_sweep_is_the_local_one_to_the_byte_though_a_job_is_killed(
    slurm, folder, tmp_path_factory
):
    with running(folder, slurm, "results/pareto.md") as run:
        kill_when_it_runs("inspect_backbone", slurm)
        assert run.wait(900) == 0, (folder / "run.log").read_text()
    said = (folder / "run.log").read_text()
    assert "SLURM status is: 'CANCELLED'" in said
    assert "Trying to restart job" in said
    # Small jobs are one of Slurm's ten jobs, and the killed one was submitted twice.
    assert said.count("has been submitted with SLURM jobid") == 11
    local = tmp_path_factory.mktemp("local")
    (local / "sweep.yaml").write_text(yaml.safe_dump(SMALLEST))
    keep_backbone_names(local)
    result = snakemake(local, "--cores", "2", "results/pareto.md")
    assert result.returncode == 0, result.stderr
    assert digests(folder / "results") == digests(local / "results")
    # On the head node nothing is out of date, and so for a run on one machine.
    again = snakemake(folder, "--dry-run", "--cores", "1", "results/pareto.md")
    assert "Nothing to be done" in again.stdout + again.stderr


def test_a_job_over_its_memory_is_named(slurm, folder):
    profile = folder / "profile/config.yaml"
    settings = yaml.safe_load(profile.read_text())
    settings["set-resources"]["generate"] = {"mem_mb": 20}
    settings["retries"] = 0
    profile.write_text(yaml.safe_dump(settings))
    with running(folder, slurm, "results/dataset/generated.sha256") as run:
        assert run.wait(900) == 1
    said = (folder / "run.log").read_text()
    told = [line for line in said.splitlines() if line.startswith("generate: Slurm says: ")]
    assert len(told) == 1
    assert "memory limit" in told[0]
