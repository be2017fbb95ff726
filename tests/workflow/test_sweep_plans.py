"""What the real Snakefile plans for backbones of either library, at several image sizes: dry runs alone."""

import json
import re

import pytest
import yaml
from conftest import PROJECT, snakemake

TINY = {
    "generate": {"image_size": 48, "images": {"train": 8, "val": 4, "test": 5}},
    "backbones": ["mobilenet_v3_small", "timm/ghostnet_050", "timm/ghostnet_050@64"],
    "train": {"image_size": 48, "epochs": 1, "batch_size": 8},
}


EIGHT = PROJECT / "workflow/configs/eight.yaml"
DEFAULT = yaml.safe_load((PROJECT / "config.yaml").read_text())


@pytest.fixture
def plan(tmp_path):
    """A function that writes a configuration and returns the settings of each training planned, by folder."""

    def training(**changes) -> dict[str, dict]:
        (tmp_path / "sweep.yaml").write_text(yaml.safe_dump({**TINY, **changes}))
        result = snakemake(
            tmp_path, "--dry-run", "--cores", "2", "--printshellcmds", "results/pareto.md"
        )
        assert result.returncode == 0, result.stderr
        commands = re.findall(
            r"stage train --settings '(.*?)' .*--checkpoint results/(\S+)/checkpoint\.pt",
            result.stdout + result.stderr,
        )
        return {folder: json.loads(settings) for settings, folder in commands}

    return training


def test_each_name_has_its_folder_and_its_image_size(plan):
    assert {folder: (each["backbone"], each["image_size"]) for folder, each in plan().items()} == {
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
    assert {
        folder: (each["epochs"], each["image_size"], each["batch_size"])
        for folder, each in found.items()
    } == {
        "mobilenet_v3_small": (1, 48, 8),
        "timm-ghostnet_050": (5, 80, 4),
        "timm-ghostnet_050@64": (7, 64, 4),
    }


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
    assert jobs["report"] == "1"
    assert {jobs[rule] for rule in ("train", "export_fp32", "bench")} == {"8"}
