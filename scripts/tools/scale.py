"""What a number of images costs: seconds and peak memory of the stages that read all of them.

    python scripts/tools/scale.py FOLDER --images 1000 10000
    python scripts/tools/scale.py FOLDER --simulate 10000000

Images are made up and small. Each stage runs as in a sweep, on all cores but for the training and
the evaluation. The table has processor seconds, because a loaded machine makes no difference to
them, and the largest memory of a process.

A simulation has a manifest of all images and a sparse array of them, so it needs no disk. Each
stage reads the whole manifest and a few thousand images. The time of the others is in proportion.
"""

import argparse
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from beansweep.common import files, memory, pinning
from beansweep.data import manifest, pixels
from beansweep.evaluation import predictions

SCRIPTS = Path(__file__).resolve().parents[1]
CONFIG = yaml.safe_load((SCRIPTS.parent / "config.yaml").read_text())
# Of a simulated epoch.
_BATCHES = 50
# Every tenth image is held out in val, and as many in test.
SPLITS = ["val", "test", *["train"] * 8]


def make_images(root: Path, count: int, side: int) -> None:
    """Write made-up photographs of two classes: JPEG files of so many pixels a side."""
    rng = np.random.default_rng(0)
    for number in range(count):
        file = root / SPLITS[number % 10] / "ab"[number // 10 % 2] / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(file)


def run(script: str, settings: dict, **arguments) -> dict:
    """Run a stage, and return its processor seconds and its peak memory (MB)."""
    command: list[str | Path] = [
        sys.executable,
        SCRIPTS / f"{script}.py",
        "--settings",
        json.dumps(settings),
    ]
    for name, value in arguments.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{script}.py failed")
    seconds = usage.ru_utime + usage.ru_stime
    return {"seconds": seconds, "megabytes": usage.ru_maxrss / 1e3}


def measure(folder: Path, count: int, backbone: str, size: int) -> dict[str, dict]:
    """What each stage costs: stage -> seconds and megabytes."""
    root, cores = folder / "images", pinning.cpus()
    make_images(root, count, side=128)
    manifest, record = folder / "manifest.csv", folder / f"pixels@{size}.json"
    images = {"root": root, "manifest": manifest, "pixels": record}
    found = {}
    found["dataset"] = run(
        "dataset",
        CONFIG["dataset"],
        root=root,
        threads=cores,
        output_manifest=manifest,
        output_near_duplicates=folder / "near_duplicates.csv",
    )
    found["decode"] = run(
        "decode",
        {"image_size": size, "bits": None},
        root=root,
        manifest=manifest,
        threads=cores,
        output_pixels=record.with_suffix(".npy"),
        output_record=record,
    )
    model = {"output_model": folder / "fp32.onnx", "output_metadata": folder / "fp32.json"}
    training = {**CONFIG["train"], "backbone": backbone, "image_size": size, "epochs": 1, "seed": 0}
    checkpoint = folder / "checkpoint.pt"
    found["one epoch"] = run(
        "train",
        training,
        **images,
        output_checkpoint=checkpoint,
        output_history=folder / "history.csv",
    )
    run("export_fp32", {}, **images, checkpoint=checkpoint, **model)
    found["evaluate"] = run(
        "evaluate",
        {},
        **images,
        metadata=model["output_metadata"],
        output_predictions=folder / "predictions.csv",
    )
    return found


def make_sparse(folder: Path, count: int, size: int) -> None:
    """Write a manifest of so many images, and an array of them that takes no disk."""
    rng, record = np.random.default_rng(0), folder / f"pixels@{size}.json"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "manifest.csv", "w") as file:
        file.write("path,split,class,sha256,bytes,width,height,contrast,group\n")
        for number in range(count):
            split, name = SPLITS[number % 10], "ab"[number // 10 % 2]
            path, digest = f"{split}/{name}/{number}.jpg", rng.bytes(32).hex()
            file.write(f"{path},{split},{name},{digest},3456,128,128,45.12,{number}\n")
    # What is never written takes no disk.
    array, shape = record.with_suffix(".npy"), (count, size, size, 3)
    np.lib.format.open_memmap(array, "w+", np.uint8, shape)
    facts = {"manifest_sha256": files.sha256(folder / "manifest.csv"), "stored": True}
    files.write_json(record, facts | {"seen_as": {"image_size": size, "bits": None}})


def simulated_epoch(folder: Path, backbone: str, size: int) -> tuple[float, float, int]:
    """Read the rows of all images, and train and validate on some, drawn from all.

    Returns
    -------
    Processor seconds before the first batch, those after it, and how often the latter come
    """
    # Not at the top: the evaluation does without.
    import torch
    from beansweep.models import backbones, reading_ahead, training

    memory.keep_freed()
    torch.set_num_threads(1)
    settings = {**CONFIG["train"], "backbone": backbone, "image_size": size, "seed": 0}
    rows = manifest.read(folder / "manifest.csv", manifest.IMAGES)
    images = pixels.read(folder, folder / "manifest.csv", folder / f"pixels@{size}.json")
    preprocessing = backbones.preprocessing(settings)
    train = training.read_split(rows, images, "train", preprocessing)
    val = training.read_split(rows, images, "val", preprocessing)
    trainer = training.Trainer(
        backbones.build(backbone, 2, size), settings, preprocessing, train, classes=2
    )
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(train.labels), generator=generator)
    chosen = order.split(trainer.batch_size)[:_BATCHES]
    started = time.process_time()
    batches = reading_ahead.batches(train.pixels, chosen, False)
    for batch, numbers in zip(batches, chosen, strict=True):
        outputs = trainer.model(trainer.batches.augmented(batch, generator))
        loss = trainer.loss(outputs, train.labels[numbers])
        trainer.precision.update(trainer.optimiser, loss)
    share = len(val.labels) / len(order)
    trainer.predict(val.pixels[: round(share * _BATCHES * trainer.batch_size)])
    return started, time.process_time() - started, trainer.steps // _BATCHES


def simulated_evaluation(folder: Path, size: int) -> tuple[float, float, int]:
    """Predict all validation and test images, with a network that computes nothing.

    Returns
    -------
    As of `simulated_epoch`, but nothing comes again
    """
    rows = manifest.read(folder / "manifest.csv", manifest.IMAGES)
    rows = rows[rows["split"] != "train"]
    images = pixels.read(folder, folder / "manifest.csv", folder / f"pixels@{size}.json")
    preprocessing = {"image_size": size, "mean": [0.5] * 3, "std": [0.5] * 3}
    metadata = {"labels": ["a", "b"], "preprocessing": preprocessing}
    logits = np.zeros((1, 2), np.float32)
    found = predictions.predict(lambda inputs: logits, metadata, images, rows, "evaluate")
    found.to_csv(folder / "predictions.csv", index=False, float_format="%.9g")
    return time.process_time(), 0, 0


def simulate(folder: Path, count: int, backbone: str, size: int) -> dict[str, dict]:
    """What stages would cost: stage -> seconds and megabytes."""
    make_sparse(folder, count, size)
    found = {}
    stages = {
        "one epoch": partial(simulated_epoch, folder, backbone, size),
        "evaluate, without the network": partial(simulated_evaluation, folder, size),
    }
    for name, stage in stages.items():
        # A process of its own for each: its peak of memory is that of the stage.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as process:
            before, once, times = process.submit(stage).result()
            peak = process.submit(resource.getrusage, resource.RUSAGE_SELF).result().ru_maxrss
        found[name] = {"seconds": before + once * times, "megabytes": peak / 1e3}
    return found


def say(count: int, found: dict[str, dict]) -> None:
    """Print what so many images cost."""
    print(f"{count} images")
    print(pd.DataFrame(found).round(0).astype(int).T.to_string(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="for images and results; they stay there")
    parser.add_argument("--images", type=int, nargs="*", default=[1000, 10_000])
    parser.add_argument("--simulate", type=int, nargs="*", default=[])
    parser.add_argument("--backbone", default="mobilenet_v3_small")
    parser.add_argument("--size", type=int, default=64, help="of images, in pixels")
    args = parser.parse_args()
    for count in args.images:
        say(count, measure(args.folder / str(count), count, args.backbone, args.size))
    for count in args.simulate:
        folder = args.folder / f"{count}-simulated"
        say(count, simulate(folder, count, args.backbone, args.size))


if __name__ == "__main__":
    main()
