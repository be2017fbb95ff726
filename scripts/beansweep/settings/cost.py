"""What a sweep will cost, said before it starts: jobs, disk and memory.

Minutes are not known before a network was trained for an epoch. Each training says them then.
"""

import shutil
from pathlib import Path

from beansweep.common import emulator, pinning, progress
from beansweep.settings import unfinished
from beansweep.settings.sweep import Sweep

# Megabytes of a stage whatever it works on: its libraries, and a network of 25 million parameters.
_BASE_MB = {"train": 1400, "quantize_qat": 1400, "quantize_swapped": 1400}
_BASE_MB |= {"export_fp32": 1400, "inspect_backbone": 1400, "dataset": 250, "decode": 150}
_OTHER_BASE_MB = 800
# Bytes for each image of the manifest: its row, and in `dataset` its thumbnail and its digests.
_BYTES_AN_IMAGE = {"dataset": 4000}
_OTHER_BYTES_AN_IMAGE = 600
# Bytes of a training for each pixel of a batch: what all layers keep for their gradients.
_BYTES_A_PIXEL = 1750
# Bytes that the models of one training take: those of 5 million parameters in seven variants.
_MODELS_BYTES = 110e6


def memory_mb(stage: str, images: int, size: int, batch: int) -> int:
    """Memory (MB) that a job takes at most, with a quarter of room.

    The figures behind it were measured (docs/your-data.md). They hold for networks up to resnet50
    and efficientnet_b0. Larger ones take more.

    Parameters
    ----------
    stage : the rule's name
    images : of the manifest
    size : of the images, in pixels
    batch : images that are trained on at a time
    """
    needed = 1e6 * _BASE_MB.get(stage, _OTHER_BASE_MB)
    needed += images * _BYTES_AN_IMAGE.get(stage, _OTHER_BYTES_AN_IMAGE)
    if stage in ("train", "quantize_qat", "quantize_swapped"):
        needed += batch * size**2 * _BYTES_A_PIXEL
    return round(1.25 * needed / 1e6)


def say(sweep: Sweep, cores: int) -> None:
    """Say what is left of a sweep will cost: trainings and emulations.

    Parameters
    ----------
    cores : of the run
    """
    _say_trainings(sweep, cores)
    for device, settings in sweep.config["devices"].items():
        _say_emulation(sweep, device, settings["emulate"], settings.get("images"))


def _say_emulation(sweep: Sweep, device: str, processor: str, images: int | None) -> None:
    """Say how long the predictions of a device will take; nothing where all are there.

    Parameters
    ----------
    processor : QEMU's name of it
    images : of each split at most; None for all
    """
    waiting, pixels = 0, 0
    for run in sweep.backbones:
        for file in sweep.emulated_files(run):
            if Path(file).parent.name == device and not Path(file).exists():
                waiting += 1
                pixels += sweep.image_size(run) ** 2
    if waiting:
        each = min(sweep.held_out_count, 2 * images) if images else sweep.held_out_count
        duration = emulator.duration(each * waiting, (pixels / waiting) ** 0.5, processor)
        progress.say(
            f"emulation of {device}: {waiting} jobs of about {each} images take {duration} of one "
            "core; devices.<name>.images bounds it"
        )


def _say_trainings(sweep: Sweep, cores: int) -> None:
    """Say what the trainings will cost; nothing where all networks are trained."""
    waiting = [run for run in sweep.runs if not Path(f"results/{run}/checkpoint.pt").exists()]
    if not waiting:
        return
    images, disk = sweep.image_count, len(waiting) * _MODELS_BYTES
    for size in {sweep.image_size(run) for run in waiting}:
        disk += images * size**2 * 3
    peaks = sorted(training_mb(sweep, run) for run in waiting)
    together = max(1, min(cores, pinning.cpus()) // sweep.training_threads(waiting[-1], cores))
    progress.say(
        f"this sweep: {len(unfinished.jobs(sweep))} jobs with {len(waiting)} training(s) on "
        f"{images} images; about {progress.storage(disk)} of disk, and "
        f"{progress.storage(shutil.disk_usage('.').free)} are free; up to "
        f"{progress.storage(1e6 * sum(peaks[-together:]))} of memory, with {together} training(s) "
        "at a time; how long a training takes is said after its first epoch"
    )


def training_mb(sweep: Sweep, run: str) -> int:
    """Memory (MB) of one training."""
    batch = sweep.train_settings(run)["batch_size"]
    return memory_mb("train", sweep.image_count, sweep.image_size(run), batch)
