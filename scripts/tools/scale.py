"""What a number of images costs: seconds and peak memory of the stages that read all of them.

    python scripts/tools/scale.py FOLDER --images 1000 10000

Images are made up and small. Each stage runs as in a sweep, on all cores but for the training and
the evaluation. The table has processor seconds, because a loaded machine makes no difference to
them, and the largest memory of a process.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from beansweep.common import pinning

SCRIPTS = Path(__file__).resolve().parents[1]
CONFIG = yaml.safe_load((SCRIPTS.parent / "config.yaml").read_text())
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="for images and results; they stay there")
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--backbone", default="mobilenet_v3_small")
    parser.add_argument("--size", type=int, default=64, help="of images, in pixels")
    args = parser.parse_args()
    for count in args.images:
        found = measure(args.folder / str(count), count, args.backbone, args.size)
        print(f"{count} images")
        print(pd.DataFrame(found).round(0).astype(int).T.to_string(), flush=True)


if __name__ == "__main__":
    main()
