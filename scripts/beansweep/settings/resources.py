"""The memory and the time that a job asks a cluster for; a run on one machine ignores both.

They are upper bounds with room, not estimates: a job over its memory is killed, and one over its
time, too. docs/cluster.md has the peaks that they were checked against.
"""

import math
import os
from functools import cache

from beansweep.settings.sweep import MANIFEST, Sweep

# Python with its libraries before any image, and Snakemake twice, which starts it on a cluster.
_LIBRARIES_MB = 2000
# One row of the manifest and of a table of predictions, read with pandas.
_ROW_BYTES = 4000
# One pixel of one image of a batch: its activations and, in training, their gradients. Of
# efficientnet_b0 it is 4000; networks of the largest kind have more weights than a batch takes.
_PIXEL_BYTES = 6000
# One pixel of one image in one epoch, on one core. efficientnet_b0 takes 3e-6 seconds on AVX2.
_PIXEL_SECONDS = 3e-5
_LEAST_MINUTES = 15
# Rules that come before the manifest: how many images there are is not known yet.
_BEFORE_MANIFEST = {"generate": (2000, 120), "dataset": (4000, 240)}


def mem_mb(sweep: Sweep, rule: str, run: str | None) -> int:
    """Memory of one job, in MB.

    It does not grow with the pixels of the data set, which jobs share, only with its rows.

    Parameters
    ----------
    sweep : the configuration
    rule : the job's
    run : the run that it is for; None for a job of the whole sweep
    """
    if rule in _BEFORE_MANIFEST:
        return _BEFORE_MANIFEST[rule][0]
    training = sweep.train_settings(run or sweep.runs[0])
    pixels = training["batch_size"] * training["image_size"] ** 2
    return _LIBRARIES_MB + math.ceil((pixels * _PIXEL_BYTES + _images() * _ROW_BYTES) / 1e6)


def minutes(sweep: Sweep, rule: str, run: str | None) -> int:
    """Time of one job, in minutes; parameters as for `mem_mb`."""
    if rule in _BEFORE_MANIFEST:
        return _BEFORE_MANIFEST[rule][1]
    training = sweep.train_settings(run or sweep.runs[0])
    epochs = training["epochs"] if rule == "train" else 1
    seconds = _images() * epochs * training["image_size"] ** 2 * _PIXEL_SECONDS
    return _LEAST_MINUTES + math.ceil(seconds / 60)


def _images() -> int:
    """The number of images in the manifest; 0 before there is one."""
    try:
        return _rows(MANIFEST, os.stat(MANIFEST).st_mtime_ns)
    except FileNotFoundError:
        return 0


@cache
def _rows(table: str, _written: int) -> int:
    """Rows of a table; counted once for each time that it is written."""
    with open(table, "rb") as lines:
        return sum(1 for _ in lines) - 1
