"""What a sweep costs, said before it starts."""

import copy

import pytest
import yaml
from beansweep.common import pinning
from beansweep.settings import cost
from beansweep.settings.sweep import Sweep
from conftest import PROJECT

DEFAULT = yaml.safe_load((PROJECT / "config.yaml").read_text())

# Peaks that were measured: stage, images, size, batch, megabytes.
MEASURED = [
    ("train", 200_000, 224, 32, 1630),  # mobilenet_v3_small
    ("train", 200_000, 224, 32, 3862),  # efficientnet_b0
    ("train", 200_000, 224, 32, 4286),  # resnet50
    ("train", 2000, 96, 32, 1554),  # efficientnet_b0
    ("train", 2000, 96, 32, 1891),  # resnet50
    ("train", 2000, 96, 8, 1170),  # efficientnet_b0
    ("quantize_qat", 102, 48, 8, 1024),
    ("export_fp32", 102, 48, 8, 1108),
    ("dataset", 1000, 64, 1, 177),
    ("decode", 1000, 64, 1, 76),
    ("evaluate", 1000, 64, 1, 122),
    ("sensitivity", 102, 48, 1, 258),
]


@pytest.fixture
def sweep(tmp_path, monkeypatch) -> Sweep:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pinning, "cpus", lambda: 2)
    return Sweep(copy.deepcopy(DEFAULT))


@pytest.mark.parametrize(("stage", "images", "size", "batch", "measured"), MEASURED)
def test_the_memory_that_is_said_holds_what_was_measured(stage, images, size, batch, measured):
    assert measured < cost.memory_mb(stage, images, size, batch) < 20 * measured


def test_jobs_disk_and_memory_are_said_before_a_sweep(sweep, capsys):
    cost.say(sweep, cores=2)
    said = capsys.readouterr().out
    # As many as Snakemake plans, but for the rendering of images by a name of its own.
    assert said.startswith("this sweep: 102 jobs with 3 training(s) on 2460 images; about ")
    assert "with 2 training(s) at a time" in said


def test_what_is_trained_costs_no_more(sweep, tmp_path, capsys):
    for run in sweep.runs[:2]:
        (tmp_path / f"results/{run}").mkdir(parents=True)
        (tmp_path / f"results/{run}/checkpoint.pt").touch()
    cost.say(sweep, cores=2)
    assert "with 1 training(s) on 2460 images" in capsys.readouterr().out
    (tmp_path / f"results/{sweep.runs[2]}").mkdir()
    (tmp_path / f"results/{sweep.runs[2]}/checkpoint.pt").touch()
    cost.say(sweep, cores=2)
    assert capsys.readouterr().out == ""


def test_images_are_counted_in_the_manifest_where_there_is_one(sweep, tmp_path):
    (tmp_path / "results/dataset").mkdir(parents=True)
    (tmp_path / "results/dataset/manifest.csv").write_text("path,split\na,train\nb,val\n")
    assert sweep.image_count == 2


def test_emulations_that_are_to_come_are_said_with_their_time(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = copy.deepcopy(DEFAULT)
    config["devices"] = {"pi": {"emulate": "cortex-a72", "images": 10}}
    found = Sweep(config)
    for run in found.backbones:
        (tmp_path / f"results/{run}").mkdir(parents=True)
        (tmp_path / f"results/{run}/checkpoint.pt").touch()
    cost.say(found, 2)
    # Five variants of three backbones, 20 images each.
    words = "emulation of pi: 15 jobs of about 20 images take 30 s to 4 min of one core"
    assert words in "".join(capsys.readouterr())
    for run in found.backbones:
        for file in found.emulated_files(run):
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).touch()
    cost.say(found, 2)
    assert "".join(capsys.readouterr()) == ""
