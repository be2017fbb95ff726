"""What a job of a cluster does when it reads the Snakefile, and what it asks for."""

import os
import re
import subprocess
import sys

import pytest
from conftest import PROJECT, configure, snakemake

# Python runs it at its start: it notes when a class folder, or an image in it, is looked into.
NOTE_IMAGES = """
import os, sys

def note(event, arguments):
    if event in ("os.scandir", "os.listdir", "open") and "/images/good" in str(arguments[0]):
        with_note = os.open(os.environ["NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(with_note, f"{event} {arguments[0]}\\n".encode())
        os.close(with_note)

sys.addaudithook(note)
"""


def job(folder, rule: str, wildcards: str, notes, mode="remote") -> subprocess.CompletedProcess:
    """A dry run of one job, as a cluster's node starts it, with notes of the images looked at."""
    (folder / "python").mkdir(exist_ok=True)
    (folder / "python/sitecustomize.py").write_text(NOTE_IMAGES)
    command = [sys.executable, "-m", "snakemake", "--snakefile", PROJECT / "Snakefile"]
    command += ["--configfile", "sweep.yaml", "--dry-run", "--printshellcmds", "--nocolor"]
    command += ["--target-jobs", f"{rule}:{wildcards}", "--allowed-rules", rule, "--force"]
    command += ["--cores", "all", "--mode", mode, "--nolock", "--ignore-incomplete"]
    environment = {**os.environ, "PYTHONPATH": str(folder / "python"), "NOTES": str(notes)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_a_job_does_not_walk_the_images_again(tmp_path, image_folder):
    root = image_folder(*(f"{label}/{i}.png" for label in ("good", "bad") for i in range(12)))
    configure(tmp_path, dataset={"root": str(root)})
    head = snakemake(tmp_path, "--dry-run", "--cores", "1", "--printshellcmds")
    assert head.returncode == 0, head.stderr
    manifest = tmp_path / "results/dataset/manifest.csv"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("path,split,class\n")
    inspection = tmp_path / "results/squeezenet1_1/inspection.json"
    inspection.parent.mkdir()
    inspection.write_text("{}")
    found = job(tmp_path, "train", "backbone=squeezenet1_1", tmp_path / "notes")
    assert found.returncode == 0, found.stderr
    assert not (tmp_path / "notes").exists()
    # The job has the command that the head node planned.
    command = re.search(r"python3 \S+/train\.py .*squeezenet1_1.*", head.stdout + head.stderr)
    assert command.group() in found.stdout + found.stderr
    # The run itself does: the notes work.
    job(tmp_path, "train", "backbone=squeezenet1_1", tmp_path / "notes", mode="default")
    assert "/images/good" in (tmp_path / "notes").read_text()


@pytest.mark.parametrize(("device", "gpus"), [("cuda", 1), ("cuda:1", 1), ("cpu", 0)])
def test_a_training_asks_for_a_gpu_where_it_is_to_use_one(tmp_path, device, gpus):
    configure(tmp_path, train={"device": device})
    result = snakemake(tmp_path, "--dry-run", "--jobs", "4", "results/pareto.md")
    assert result.returncode == 0, result.stderr
    blocks = re.split(r"^rule ", result.stdout + result.stderr, flags=re.MULTILINE)
    trainings = [block for block in blocks if block.startswith("train:")]
    assert len(trainings) == 2
    for block in trainings:
        assert f"gpu={gpus}" in block
