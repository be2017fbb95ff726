"""The memory and the time that a job asks a cluster for; a run on one machine ignores both.

They are upper bounds with room, not estimates: a job over its memory is killed, and one over its
time, too. docs/cluster.md has the peaks that they were checked against.
"""

import math

from beansweep.settings import cost
from beansweep.settings.sweep import Sweep, manifest_rows

# Snakemake itself: on a cluster, two of its processes start a job.
_SNAKEMAKE_MB = 500
# One pixel of one image in one epoch, on one core. efficientnet_b0 takes 3e-6 seconds on AVX2.
_PIXEL_SECONDS = 3e-5
# The same in an emulator, which is up to a thousand times slower than the machine itself.
_EMULATED_PIXEL_SECONDS = 2e-3
_LEAST_MINUTES = 15
# Rules that come before the manifest: how many images there are is not known yet.
_BEFORE_MANIFEST = {"generate": (2000, 120), "dataset": (4000, 240)}


def mem_mb(sweep: Sweep, rule: str, run: str | None) -> int:
    """Memory of one job, in MB.

    Parameters
    ----------
    sweep : the configuration
    rule : the job's
    run : the run that it is for; None for a job of the whole sweep
    """
    if rule in _BEFORE_MANIFEST:
        return _BEFORE_MANIFEST[rule][0]
    training = sweep.train_settings(run or sweep.runs[0])
    size = sweep.image_size(run or sweep.runs[0])
    return _SNAKEMAKE_MB + cost.memory_mb(rule, manifest_rows(), size, training["batch_size"])


def minutes(sweep: Sweep, rule: str, run: str | None) -> int:
    """Time of one job, in minutes; parameters as for `mem_mb`."""
    if rule in _BEFORE_MANIFEST:
        return _BEFORE_MANIFEST[rule][1]
    run = run or sweep.runs[0]
    epochs = sweep.train_settings(run)["epochs"] if rule == "train" else 1
    pixel_seconds = _EMULATED_PIXEL_SECONDS if rule == "evaluate_emulated" else _PIXEL_SECONDS
    seconds = manifest_rows() * epochs * sweep.image_size(run) ** 2 * pixel_seconds
    return _LEAST_MINUTES + math.ceil(seconds / 60)
