"""Which backbones of a sweep are complete, and why others are not, by files and logs."""

import os
import re
import time
from pathlib import Path

import pytest
import yaml
from beansweep.common.errors import UserError
from beansweep.settings import unfinished
from beansweep.settings.sweep import Sweep
from conftest import PROJECT

DEFAULT = yaml.safe_load((PROJECT / "config.yaml").read_text())
NETS = ["resnet18", "squeezenet1_1"]
HEADER = "made with python 3.11.7\n"


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """A sweep of two backbones and two seeds, all of it finished, in the working folder."""
    monkeypatch.chdir(tmp_path)
    config = DEFAULT | {"backbones": NETS, "train": {**DEFAULT["train"], "seeds": [0, 1]}}
    result = Sweep(config)
    for run in result.runs:
        for path, log in unfinished.steps(result, run).items():
            for file, text in ((Path(path), ""), (log, f"{HEADER}finished\n")):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
    return result


def test_a_finished_sweep_misses_nothing(sweep):
    assert unfinished.missing(sweep) == {}
    assert unfinished.missing_from_partial_report(sweep) == {}


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("failed: train: weights.pth does not fit\n", "train: weights.pth does not fit"),
        ("epoch 1\nTraceback\nfailed: train: a fault\nlast words\n", "train: a fault"),
        ("", "train: resnet18 was killed, most often for want of memory: lower train.batch_size"),
        ("epoch 1", "train: resnet18 was killed, most often for want of memory"),
        (
            "Fatal Python error: Segmentation fault\n\nThread 1\n",
            r"train: resnet18 crashed \(Segmentation fault\): see results/logs/resnet18/train.log",
        ),
    ],
)
def test_a_log_that_does_not_say_finished_says_why(sweep, end, words):
    Path("results/logs/resnet18/train.log").write_text(HEADER + end)
    missing = unfinished.missing(sweep)
    assert list(missing) == ["resnet18"]
    assert re.match(words, missing["resnet18"])


def test_what_is_not_there_has_not_run(sweep):
    Path("results/resnet18/float_kernels/int8_qat.csv").unlink()
    assert unfinished.missing(sweep) == {
        "resnet18": "evaluate_float_kernels: resnet18 int8_qat has not run"
    }


def test_the_rendering_of_images_is_a_step_where_images_are_rendered(sweep):
    log = Path("results/logs/generate.log")
    log.write_text(f"{HEADER}failed: generate: a fault\n")
    assert set(unfinished.missing(sweep).values()) == {"generate: a fault"}
    sweep.config["dataset"] = {**sweep.config["dataset"], "root": "photographs"}
    assert unfinished.missing(sweep) == {}


def test_a_failure_explains_better_than_what_did_not_run_after_it(sweep):
    Path("results/resnet18/checkpoint.pt").unlink()
    log = Path("results/logs/resnet18/bench.log")
    log.write_text(f"{HEADER}failed: bench: a fault\n")
    assert unfinished.missing(sweep) == {"resnet18": "bench: a fault"}


def test_logs_of_variants_that_are_gone_and_of_bundles_do_not_count(sweep):
    for name in ("quantize_int8-int8_old", "deploy-int8_static"):
        Path(f"results/logs/resnet18/{name}.log").write_text("failed: a fault\n")
    assert unfinished.missing(sweep) == {}


def test_results_without_logs_are_complete(sweep):
    for log in Path("results/logs").rglob("*.log"):
        log.unlink()
    assert unfinished.missing(sweep) == {}


def test_another_seed_that_failed_leaves_its_backbone_complete(sweep):
    Path("results/resnet18.seed1/checkpoint.pt").unlink()
    missing = unfinished.missing_from_partial_report(sweep)
    assert missing == {"resnet18.seed1": "train: resnet18.seed1 has not run"}
    assert sweep.report_settings(missing)["backbones"] == NETS


def test_without_a_complete_backbone_there_is_one_sentence(sweep):
    Path("results/logs/dataset.log").write_text(f"{HEADER}failed: dataset: no images\n")
    with pytest.raises(UserError, match="no backbone is complete, so there is nothing") as caught:
        unfinished.missing_from_partial_report(sweep)
    assert "resnet18: dataset: no images" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_that_failed_ends_with_what_was_killed_and_the_command_for_the_rest(sweep):
    earlier = time.time() - 100
    killed, before = (Path(f"results/logs/{net}/bench.log") for net in NETS)
    for log in (killed, before):
        log.write_text(HEADER)
    os.utime(before, (earlier, earlier))
    assert unfinished.after_failure(sweep, time.time() - 50, cores=3) == [
        "bench: resnet18 was killed, most often for want of memory: lower train.batch_size or "
        "train.image_size, or use fewer cores",
        "0 of 2 backbones finished",
    ]
    before.write_text(f"{HEADER}finished\n")
    summary = unfinished.after_failure(sweep, time.time() + 50, cores=3)
    assert summary == [
        "1 of 2 backbones finished; for a report of those, run with the same options: "
        "snakemake --cores 3 results/partial/pareto.md"
    ]
    killed.write_text(f"{HEADER}finished\n")
    # Such as `results/deploy` where there is no pick: the whole report is there.
    summary = unfinished.after_failure(sweep, time.time() + 50, cores=3)
    assert summary == ["2 of 2 backbones finished"]


def test_what_slurm_killed_is_named_with_its_reason(sweep):
    reasons = {
        "rule_train/resnet18/7.log": "slurmstepd-n1: error: Exceeded job memory limit",
        "group_small_evaluate/8.log": (
            "slurmstepd: error: *** JOB 8 ON n2 CANCELLED AT 2026-01-01 DUE TO TIME LIMIT ***"
        ),
        "rule_report/9.log": "report: an error of its own",
        "rule_bench/resnet18/3.log": "slurmstepd-n1: error: Exceeded job memory limit",
    }
    for name, text in reasons.items():
        log = unfinished.SLURM_LOGS / name
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(f"Building DAG of jobs...\n{text}\n")
    os.utime(unfinished.SLURM_LOGS / "rule_bench/resnet18/3.log", (0, 0))
    small, train = unfinished.after_failure(sweep, time.time() - 50, cores=None)[:-1]
    assert small.startswith("group_small_evaluate: Slurm says: JOB 8 ON n2 CANCELLED")
    assert train.startswith("train: Slurm says: Exceeded job memory limit (.snakemake/slurm_logs")
    assert "raise mem_mb or runtime" in train
