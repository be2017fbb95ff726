"""Faults of the machine: each is one sentence, results are kept, and the next run goes on."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import onnxruntime
import pytest
import torch
from beansweep.benchmark import latency
from beansweep.common import files, stage, versions, working_folder
from beansweep.common.errors import UserError
from beansweep.models import onnx_session
from conftest import PROJECT, TINY, configure, digests, planned, snakemake


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 256 KB with 200 of them taken."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    (disk / "taken").write_bytes(bytes(200_000))
    yield disk
    # What failed to write may still hold a file open.
    subprocess.run(["umount", "--lazy", disk], check=True)


def make_manifest(root, folder) -> subprocess.CompletedProcess:
    """Run the stage `dataset` with its results and its log in a folder."""
    settings = {
        "fractions": {"val": 0.2, "test": 0.2, "pick": 0},
        "seed": 0,
        "on_leakage": "warn",
        "bits": None,
        "on_unreadable": "fail",
    }
    return subprocess.run(
        [
            sys.executable,
            PROJECT / "scripts/dataset.py",
            "--settings",
            json.dumps(settings),
            "--log",
            folder / "logs/dataset.log",
            "--root",
            root,
            "--output-manifest",
            folder / "manifest.csv",
            "--output-near-duplicates",
            folder / "pairs.csv",
        ],
        capture_output=True,
        text=True,
    )


def test_a_full_disk_is_told_and_what_was_made_is_kept(small_disk, image_folder):
    root = image_folder(*(f"{label}/{i}.png" for label in "ab" for i in range(8)))
    (small_disk / "manifest.csv").write_text("made before")
    (small_disk / "filler").write_bytes(bytes(os.statvfs(small_disk).f_bavail * 4096))
    result = make_manifest(root, small_disk)
    assert result.returncode != 0
    assert "no space left" in result.stderr
    assert "Traceback" not in result.stderr
    assert (small_disk / "manifest.csv").read_text() == "made before"


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(bytes(500_000)),
        lambda path: torch.save(torch.zeros(100_000), path),
        lambda path: np.save(path.open("wb"), np.zeros(100_000)),
    ],
    ids=["bytes", "a checkpoint", "an array"],
)
def test_a_full_disk_is_known_whoever_writes(small_disk, write):
    (small_disk / "result.pt").write_text("made before")
    with pytest.raises(Exception) as caught, files.replacing(small_disk / "result.pt") as temporary:
        write(temporary)
    assert "no space left while writing" in stage._sentence(caught.value, None)
    assert (small_disk / "result.pt").read_text() == "made before"
    assert sorted(path.name for path in small_disk.iterdir()) == ["result.pt", "taken"]


def test_a_folder_that_cannot_be_written_is_named(small_disk, image_folder):
    root = image_folder("a/1.png", "b/1.png")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    result = make_manifest(root, small_disk)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert (
        f"dataset: {small_disk}/logs cannot be written or read: fix its permissions"
        in result.stderr
    )
    with pytest.raises(
        UserError, match=r"nothing can be written to .*disk/results \(Read-only file system\)"
    ):
        working_folder.check_writable(small_disk / "results")


@pytest.mark.parametrize(
    "exhaust",
    [
        lambda: torch.empty(10**15),
        lambda: np.empty(10**15),
        lambda: bytearray(10**18),
        lambda: latency.run_in_fresh_process(os._exit, 137),
    ],
    ids=["torch", "numpy", "python", "a killed worker"],
)
def test_want_of_memory_is_told_with_what_to_change(exhaust):
    with pytest.raises(Exception) as caught:
        exhaust()
    assert "memory: lower train.batch_size or train.image_size, or" in stage._sentence(
        caught.value, None
    )


def test_an_onnxruntime_without_kernels_for_processors_is_named(monkeypatch):
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["TensorrtExecutionProvider"]
    )
    with pytest.raises(
        UserError, match="no CPUExecutionProvider, only TensorrtExecutionProvider: install"
    ):
        onnx_session.create(b"")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(versions, "PACKAGES", ("numpy", "onnxruntime-that-is-not-there"))
    with pytest.raises(
        UserError, match="the package onnxruntime-that-is-not-there is not installed"
    ):
        versions.installed()


def test_a_second_run_in_a_folder_is_refused_in_one_sentence(tmp_path):
    configure(tmp_path)
    with working_folder.claim(tmp_path / ".snakemake"):
        result = snakemake(tmp_path, "--cores", "1", "results/dataset/manifest.csv")
        assert result.returncode != 0
        assert (
            f"another run (process {os.getpid()}) is at work in {tmp_path}: let it end, or give"
            in result.stderr
        )
        assert "Traceback" not in result.stderr
        assert not (tmp_path / "results").exists()
        # To look is allowed.
        assert planned(tmp_path, "results/dataset/manifest.csv") == {"generate": 1, "dataset": 1}


def test_a_lock_that_a_killed_run_left_is_taken_away_and_that_of_a_run_at_work_stays(tmp_path):
    lock = tmp_path / "locks/0.output.lock"
    lock.parent.mkdir()
    lock.write_text("results/pareto.md\n")
    with working_folder.claim(tmp_path):
        working_folder.unlock(tmp_path)
        assert lock.exists()
    working_folder.unlock(tmp_path)
    assert not lock.exists()


def test_a_claim_ends_with_its_process_however_it_ends(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from beansweep.common import working_folder\n"
        "lock = working_folder.claim(Path(sys.argv[2]))\n"
        "print('claimed', flush=True); time.sleep(100)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, PROJECT / "scripts", tmp_path], stdout=subprocess.PIPE
    )
    assert holder.stdout.readline() == b"claimed\n"
    with pytest.raises(UserError, match=f"process {holder.pid}"):
        working_folder.claim(tmp_path)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    working_folder.claim(tmp_path).close()


def test_a_clock_that_was_set_back_stops_nothing(tmp_path, image_folder):
    configure(tmp_path)
    assert snakemake(tmp_path, "--cores", "2", "results/dataset/generated").returncode == 0
    ahead = time.time() + 3 * 3600
    for path in (tmp_path / "results").rglob("*"):
        os.utime(path, (ahead, ahead))
    result = snakemake(tmp_path, "--cores", "2", "results/dataset/manifest.csv")
    assert result.returncode == 0, result.stderr
    assert planned(tmp_path, "results/dataset/manifest.csv") == {}


def test_results_without_their_records_are_told(tmp_path):
    configure(tmp_path)
    (tmp_path / "results/dataset").mkdir(parents=True)
    (tmp_path / "results/dataset/manifest.csv").write_text("path,split,class\n")
    result = snakemake(tmp_path, "--dry-run", "--cores", "1")
    assert (
        result.stderr.count(
            "results/ is here without the .snakemake folder that tells what it was made from"
        )
        == 1
    )


@pytest.fixture(scope="module")
def with_one_failed(finished, tmp_path_factory):
    """A copy of the finished sweep, after one backbone failed to train again; and that run."""
    folder = shutil.copytree(finished, tmp_path_factory.mktemp("failed") / "sweep")
    (folder / "weights.pth").write_text("none")
    configure(folder, overrides={"squeezenet1_1": {"weights": "weights.pth"}})
    return folder, snakemake(folder, "--cores", "4", "--keep-going", "results/pareto.md")


def test_one_backbone_that_fails_does_not_lose_the_others(finished, with_one_failed):
    folder, result = with_one_failed
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    command = "snakemake --cores 4 results/partial/pareto.md"
    lines = [line for line in result.stderr.splitlines() if "backbones finished" in line]
    assert lines == [
        f"1 of 2 backbones finished; for a report of those, run with the same options: {command}"
    ]
    assert "was killed" not in result.stderr
    before, after = digests(finished / "results"), digests(folder / "results")
    assert {name for name in before if before[name] != after.get(name)} == {
        "squeezenet1_1/checkpoint.pt",
        "squeezenet1_1/history.csv",
    }


def test_a_partial_report_says_what_it_lacks_and_why(with_one_failed):
    folder, _ = with_one_failed
    assert planned(folder, "results/partial/pareto.md") == {
        "bench_finalists_partial": 1,
        "report_partial": 1,
    }
    before = digests(folder / "results")
    result = snakemake(folder, "--cores", "4", "results/partial/pareto.md")
    assert result.returncode == 0, result.stderr
    report = (folder / "results/partial/pareto.md").read_text()
    assert "**Incomplete.**" in report.splitlines()[2]
    assert (
        "`squeezenet1_1`: train: train.weights: weights.pth is not a plain state dict of tensors"
        in report
    )
    assert "`mobilenet_v3_small` `int8_static`" in report
    assert "`squeezenet1_1` `int8_static`" not in report
    for name in ("pareto.csv", "report.html", "figures/front.png"):
        assert (folder / "results/partial" / name).exists()
    # Nothing else changed, and a second one has nothing to do.
    assert digests(folder / "results") == before
    assert planned(folder, "results/partial/pareto.md") == {}
    # It is not taken for the whole report, even of the backbones that finished.
    configure(folder, backbones=TINY["backbones"][:1])
    assert planned(folder, "results/pareto.md") == {"bench_finalists": 1, "report": 1}
    # What is missing now is another thing, so the partial report is out of date.
    assert planned(folder, "results/partial/pareto.md") == {"report_partial": 1}


def test_without_a_complete_backbone_there_is_no_partial_report(tmp_path):
    configure(tmp_path)
    result = snakemake(tmp_path, "--cores", "1", "results/partial/pareto.md")
    assert result.returncode == 1
    assert (
        "beansweep: results/partial/pareto.md: no backbone is complete, so there is nothing to "
        "report (mobilenet_v3_small: generate has not run)"
    ) in result.stderr.splitlines()
    assert "Traceback" not in result.stderr


def test_a_data_set_that_fails_leaves_nothing_to_report(tmp_path, image_folder):
    root = image_folder(*(f"{label}/{i}.png" for label in ("good", "bad") for i in range(12)))
    (root / "bad/3.png").write_bytes(b"not an image")
    configure(tmp_path, dataset={"root": str(root)})
    result = snakemake(tmp_path, "--cores", "1", "results/pareto.md")
    assert result.returncode != 0
    lines = [line for line in result.stderr.splitlines() if "backbones finished" in line]
    assert lines == ["0 of 2 backbones finished"]
    result = snakemake(tmp_path, "--cores", "1", "results/partial/pareto.md")
    told = [line for line in result.stderr.splitlines() if line.startswith("beansweep: ")]
    assert len(told) == 1
    assert "(mobilenet_v3_small: dataset: " in told[0]
    assert "bad/3.png cannot be read" in told[0]
