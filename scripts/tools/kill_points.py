"""Kill a tiny sweep at random points, finish it, and compare its results with an unbroken one.

    python scripts/tools/kill_points.py [--points 20] [--seed 0]

Each point lies in train, calibrate, quantize_int8, bench or report, at a random moment. SIGKILL
goes to the job, or to Snakemake, or to both and all that they started, as when the power fails.
The exit status is 1 where a result differs.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from conftest import TINY, command, configure, digests

# A job is killed within this time (seconds) of its start: about as long as it takes.
STAGES = {"train": 10, "calibrate": 2, "quantize_int8": 2, "bench": 4, "report": 3}
VICTIMS = ("job", "snakemake", "everything")
TARGET = "results/pareto.md"


def kill_in(folder: Path, stage: str, victim: str, delay: float) -> bool:
    """Run the sweep from a stage on, and kill it in a job of that stage.

    Parameters
    ----------
    folder : that the sweep runs in
    stage : name of the rule, which is made to run again
    victim : job, snakemake, or everything (both, and all that they started)
    delay : seconds from the job's start

    Returns
    -------
    Whether there was a job to kill: False where it ended before that moment.
    """
    with open(folder / "killed.log", "a") as log:
        run = subprocess.Popen(
            command(folder, "--cores", "4", TARGET, "--forcerun", stage),
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    job = _wait_for_job(run, stage)
    time.sleep(delay)
    at_work = False
    if job is not None and job.is_running() and run.poll() is None:
        at_work = True
        if victim == "job":
            job.kill()
        elif victim == "snakemake":
            run.kill()
        else:
            os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    return at_work


def _wait_for_job(run: subprocess.Popen, stage: str) -> psutil.Process | None:
    """Wait for a run's first job of a stage; None where the run ends without one."""
    while run.poll() is None:
        for process in psutil.Process(run.pid).children(recursive=True):
            try:
                words = process.cmdline()
            except psutil.Error:
                continue
            # Not the shell, which has the whole command in one long word.
            if len(words) > 1 and Path(words[1]).name == f"{stage}.py":
                return process
        time.sleep(0.05)
    return None


def finish(folder: Path, *targets: str) -> dict[str, str]:
    """Run the sweep up to some files: the digests of all its results so far."""
    with open(folder / "whole.log", "w") as log:
        subprocess.run(
            command(folder, "--cores", "4", *targets),
            cwd=folder,
            stdout=log,
            stderr=log,
            check=True,
        )
    return digests(folder / "results")


def configure_long_training(folder: Path) -> None:
    """Configure a sweep of one backbone with so many epochs that a kill falls between them."""
    training = {**TINY["train"], "epochs": 30, "patience": 30}
    configure(folder, backbones=TINY["backbones"][1:], train=training)


def kill_again_and_again(folder: Path, points: int, seed: int) -> None:
    """Kill the sweep in a folder at random points, spread evenly over the stages."""
    rng = random.Random(seed)
    stages = list(STAGES)
    for index in range(points):
        stage = stages[index * len(stages) // points]
        victim, delay = rng.choice(VICTIMS), rng.uniform(0, STAGES[stage])
        while not kill_in(folder, stage, victim, delay):
            delay /= 2
        print(f"{stage} after {delay:.1f} s: {victim} killed", flush=True)


def compare(unbroken: Path, killed: Path) -> tuple[int, list[str]]:
    """Finish both sweeps: the number of results, and the names of those that differ."""
    expected, found = finish(unbroken, TARGET), finish(killed, TARGET)
    # A forced job that was killed is only run again where something needs its results.
    missing = sorted(expected.keys() - found.keys())
    if missing:
        found = finish(killed, *(f"results/{name}" for name in missing))
    different = []
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            different.append(name)
    return len(expected), different


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=20, help="kills; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the points; default: %(default)s")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        unbroken, killed = Path(first), Path(second)
        configure_long_training(unbroken)
        configure_long_training(killed)
        kill_again_and_again(killed, args.points, args.seed)
        count, different = compare(unbroken, killed)
        went_on = "going on after epoch" in (killed / "killed.log").read_text()
    print(
        f"killed at {args.points} points; training went on from an epoch: {went_on}; "
        f"{count} results, different: {different or 'none'}"
    )
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())
