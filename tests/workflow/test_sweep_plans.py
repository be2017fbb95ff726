"""What the Snakefile plans for backbones of both libraries, at several image sizes: dry runs."""

import json
import re

import pytest
import yaml
from beansweep.settings import unfinished
from beansweep.settings.sweep import Sweep
from conftest import PROJECT, keep_backbone_names, snakemake

TINY = {
    "generate": {"image_size": 48, "images": {"train": 8, "val": 4, "test": 5}},
    "backbones": ["mobilenet_v3_small", "timm/ghostnet_050", "timm/ghostnet_050@64"],
    "train": {"image_size": 48, "epochs": 1, "batch_size": 8},
}


EIGHT = PROJECT / "workflow/configs/eight.yaml"
DEFAULT = yaml.safe_load((PROJECT / "config.yaml").read_text())


@pytest.fixture
def plan(tmp_path):
    """A function that writes a configuration and returns what is planned: run -> its settings."""

    def training(**changes) -> dict[str, dict]:
        (tmp_path / "sweep.yaml").write_text(yaml.safe_dump({**TINY, **changes}))
        keep_backbone_names(tmp_path)
        result = snakemake(
            tmp_path, "--dry-run", "--cores", "2", "--printshellcmds", "results/pareto.md"
        )
        assert result.returncode == 0, result.stderr
        commands = re.findall(
            r"train\.py .*--settings '(.*?)' .*--output-checkpoint results/(\S+)/checkpoint\.pt",
            result.stdout + result.stderr,
        )
        return {run: json.loads(settings) for settings, run in commands}

    return training


def test_each_name_has_its_folder_and_its_image_size(plan):
    found = {run: (chosen["backbone"], chosen["image_size"]) for run, chosen in plan().items()}
    assert found == {
        "mobilenet_v3_small": ("mobilenet_v3_small", 48),
        "timm-ghostnet_050": ("timm/ghostnet_050", 48),
        "timm-ghostnet_050@64": ("timm/ghostnet_050@64", 64),
    }


def test_an_override_of_a_name_with_an_image_size_wins_over_one_of_its_network(plan):
    found = plan(
        overrides={
            "timm/ghostnet_050": {"epochs": 5, "image_size": 80, "batch_size": 4},
            "timm/ghostnet_050@64": {"epochs": 7},
        }
    )
    expected = {
        "mobilenet_v3_small": (1, 48, 8),
        "timm-ghostnet_050": (5, 80, 4),
        "timm-ghostnet_050@64": (7, 64, 4),
    }
    assert found.keys() == expected.keys()
    for run, chosen in found.items():
        assert (chosen["epochs"], chosen["image_size"], chosen["batch_size"]) == expected[run]


def test_an_image_size_said_twice_is_refused(tmp_path):
    (tmp_path / "sweep.yaml").write_text(
        yaml.safe_dump({**TINY, "overrides": {"timm/ghostnet_050@64": {"image_size": 96}}})
    )
    result = snakemake(tmp_path, "--dry-run", "--cores", "2")
    assert result.returncode != 0
    assert (
        "overrides.timm/ghostnet_050@64.image_size: the name says 64 already"
        in result.stdout + result.stderr
    )


def test_the_second_configuration_adds_five_backbones_and_changes_none():
    eight = yaml.safe_load(EIGHT.read_text())
    assert set(eight) == {"backbones"}
    assert len(eight["backbones"]) == 8
    assert set(DEFAULT["backbones"]) < set(eight["backbones"])


def test_the_second_configuration_plans_all_of_each(tmp_path):
    result = snakemake(
        tmp_path, "--dry-run", "--cores", "2", "results/pareto.md", "--configfile", str(EIGHT)
    )
    assert result.returncode == 0, result.stderr
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", result.stdout, re.MULTILINE))
    assert jobs["report"] == jobs["bench_finalists"] == "1"
    assert (jobs["train"], jobs["export_fp32"], jobs["bench"]) == ("8", "8", "8")


def test_the_steps_of_each_run_are_the_files_and_logs_of_the_plan(tmp_path):
    changes = {**TINY, "train": {**TINY["train"], "seeds": [0, 1]}}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(changes))
    result = snakemake(tmp_path, "--dry-run", "--cores", "2", "results/pareto.md")
    assert result.returncode == 0, result.stderr
    config = {**DEFAULT, **TINY, "train": {**DEFAULT["train"], **changes["train"]}}
    sweep = Sweep(config)
    files, logs = set(), set()
    for run in sweep.runs:
        steps = unfinished.steps(sweep, run)
        files |= set(steps)
        logs |= {str(log) for log in steps.values()}
    planned = set(re.findall(r"^ +log: (\S+)", result.stdout, re.MULTILINE))
    assert planned == logs | {"results/logs/bench_finalists.log", "results/logs/report.log"}
    made = set()
    for outputs in re.findall(r"^ +output: (.*)", result.stdout, re.MULTILINE):
        made |= set(outputs.split(", "))
    assert files <= made
