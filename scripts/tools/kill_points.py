"""Kill a tiny sweep at random points until it is done, and compare what it made with an unbroken one's.

    python scripts/tools/kill_points.py [--points 20] [--seed 0]

Each point is in train, calibrate, quantize_int8, bench or report, at a random moment. What is killed
with SIGKILL is the job, or Snakemake, or both and all that they started, as when the power fails.
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
from conftest import TINY, command, configure, digests

# Within how many seconds of a job's start it is killed: about as long as it takes.
STAGES = {"train": 10, "calibrate": 2, "quantize_int8": 2, "bench": 4, "report": 3}
VICTIMS = ("job", "snakemake", "everything")


def kill_in(folder: Path, stage: str, victim: str, delay: float) -> bool:
    """Run the sweep from `stage` on and kill it `delay` seconds into a job of it; False where that was done before."""
    with open(folder / "killed.log", "a") as log:
        run = subprocess.Popen(
            command(folder, "--cores", "4", "results/pareto.md", "--forcerun", stage),
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    job = _wait_for(run, stage)
    time.sleep(delay)
    there = job is not None and job.is_running() and run.poll() is None
    if there:
        if victim == "job":
            job.kill()
        elif victim == "snakemake":
            run.kill()
        else:
            os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    return there


def _wait_for(run: subprocess.Popen, stage: str) -> psutil.Process | None:
    """The process of a run's job of a stage, as soon as there is one; None where the run ends without."""
    while run.poll() is None:
        for process in psutil.Process(run.pid).children(recursive=True):
            try:
                words = process.cmdline()
            except psutil.Error:
                continue
            # Not the shell, whose one long word holds the whole command.
            if len(words) > 1 and Path(words[1]).name == f"{stage}.py":
                return process
        time.sleep(0.05)
    return None


def finish(folder: Path, *targets: str) -> dict[str, str]:
    """Run the sweep up to some files, and return the digests of all it made so far."""
    with open(folder / "whole.log", "w") as log:
        subprocess.run(
            command(folder, "--cores", "4", *targets),
            cwd=folder,
            stdout=log,
            stderr=log,
            check=True,
        )
    return digests(folder / "results")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as unbroken, tempfile.TemporaryDirectory() as killed:
        for folder in map(Path, (unbroken, killed)):
            configure(
                folder,
                backbones=TINY["backbones"][1:],
                train={**TINY["train"], "epochs": 30, "patience": 30},
            )
        stages = [list(STAGES)[index * len(STAGES) // args.points] for index in range(args.points)]
        points = [(stage, rng.choice(VICTIMS), rng.uniform(0, STAGES[stage])) for stage in stages]
        for stage, victim, delay in points:
            while not kill_in(Path(killed), stage, victim, delay):
                delay /= 2
            print(f"{stage} after {delay:.1f} s: {victim} killed", flush=True)
        expected = finish(Path(unbroken), "results/pareto.md")
        found = finish(Path(killed), "results/pareto.md")
        # What was forced to run anew and killed, and what nothing needs any more, is made when asked for.
        if missing := sorted(expected.keys() - found.keys()):
            found = finish(Path(killed), *(f"results/{name}" for name in missing))
        went_on = "going on after epoch" in Path(killed, "killed.log").read_text()
    different = sorted(
        name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)
    )
    print(
        f"killed at {args.points} points; training went on from an epoch: {went_on}; "
        f"{len(expected)} artifacts, different: {different or 'none'}"
    )
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())
