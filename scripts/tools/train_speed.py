"""Compare the speed of this project's training loop with that of plain loops, in images per second.

    python scripts/tools/train_speed.py FOLDER [--backbone NAME] [--size PIXELS] [--images N]
    python scripts/tools/train_speed.py FOLDER --device cuda --backbone timm/mobilenetv3_large_100 \
        --timm-script pytorch-image-models/train.py

The plain loop is that of torchvision's references/classification: ImageFolder, random resized
crop, flip, to tensor, normalise, a DataLoader that decodes every image in every epoch, and the
optimiser with its defaults. A second plain loop has two improvements that are easy to have:
images decoded once, and channels last. timm's script, where it is given, says its own speed: the
mean of an epoch, in which starting the workers counts. All loops take turns, and the medians are
compared.
"""

import argparse
import atexit
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from beansweep.data import image_folders, images, preprocess
from beansweep.models import backbone_names, backbones, training

THREADS = os.cpu_count() or 1
ROUNDS = 3
# The mean speed that timm's script prints with every step.
TIMM_SPEED = re.compile(r"s, +([0-9.]+)/s\)")


class Files(Dataset):
    """Image files, decoded and augmented one by one as references/classification does.

    Parameters
    ----------
    files : paths of the images
    labels : class index of each
    size : pixels along a side
    """

    def __init__(self, files: list[Path], labels: list[int], size: int):
        self.files = files
        self.labels = labels
        self.transform = v2.Compose(
            [
                v2.PILToTensor(),
                v2.RandomResizedCrop(size, antialias=True),
                v2.RandomHorizontalFlip(),
                v2.ToDtype(torch.float, scale=True),
                v2.Normalize(**backbones.IMAGENET),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(preprocess.read(self.files[index])), self.labels[index]


def decoded_batches(
    split: training.Split, batch: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of decoded images, flipped and normalised, channels last, with their labels."""
    mean = torch.tensor(backbones.IMAGENET["mean"]).view(3, 1, 1)
    std = torch.tensor(backbones.IMAGENET["std"]).view(3, 1, 1)
    for chosen in torch.randperm(len(split.labels)).split(batch):
        inputs = torch.as_tensor(split.pixels[chosen]).permute(0, 3, 1, 2).float() / 255
        flipped = torch.rand(len(chosen)) < 0.5
        inputs[flipped] = inputs[flipped].flip(-1)
        inputs = ((inputs - mean) / std).contiguous(memory_format=torch.channels_last)
        yield inputs, split.labels[chosen]


def plain_loop(
    model: nn.Module, batches: Callable[[], Iterable], device: str
) -> Callable[[int], None]:
    """A plain training loop: a function that runs one epoch, given its number.

    Parameters
    ----------
    model : to train
    batches : gives the (inputs, labels) of one epoch
    device : that it is trained on
    """
    model.to(device)
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def run_epoch(epoch: int) -> None:
        model.train()
        for inputs, labels in batches():
            optimiser.zero_grad()
            loss(model(inputs.to(device)), labels.to(device)).backward()
            optimiser.step()

    return run_epoch


def our_loop(args: argparse.Namespace, split: training.Split, classes: int) -> training.Trainer:
    """This project's training on one split."""
    settings = {
        "backbone": args.backbone,
        "device": args.device,
        "batch_size": args.batch,
        "label_smoothing": 0.1,
        "weight_decay": 0.05,
        "learning_rate": 1e-3,
        "epochs": 100,
        "warmup_epochs": 1,
        "seed": 0,
    }
    preprocessing = {"image_size": args.size, **backbones.IMAGENET}
    model = backbones.build(args.backbone, classes)
    return training.Trainer(model, settings, preprocessing, split, classes)


def timm_loop(args: argparse.Namespace, files: list[Path]) -> Callable[[int], float]:
    """timm's script on the same images: a function that gives the speed of its second epoch."""
    folder = Path(tempfile.mkdtemp(prefix="timm-"))
    for number, file in enumerate(files):
        # Its script wants to validate, too: on few images.
        for split in ["train", "val"] if number % 50 == 0 else ["train"]:
            link = folder / split / file.parent.name / f"{number}{file.suffix}"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file.resolve())
    command = [sys.executable, args.timm_script, "--data-dir", folder, "--output", folder]
    command += ["--train-split", "train", "--val-split", "val", "--workers", THREADS]
    command += ["--model", args.backbone.removeprefix(backbone_names.TIMM), "--img-size", args.size]
    command += ["--num-classes", len(list((folder / "train").iterdir())), "-b", args.batch]
    command += ["--opt", "adamw", "--lr", "1e-3", "--epochs", 2, "--warmup-epochs", 0]
    command += ["--channels-last", "--device", args.device]
    if args.device != "cpu":
        command += ["--amp", "--amp-dtype", "bfloat16", "--pin-mem"]

    def run(_epoch: int) -> float:
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        speeds = TIMM_SPEED.findall(done.stdout + done.stderr)
        if done.returncode or not speeds:
            raise SystemExit(f"{args.timm_script} failed:\n{done.stderr[-2000:]}")
        return float(speeds[-1])

    atexit.register(shutil.rmtree, folder)
    return run


def timed(run_epoch: Callable[[int], object], images: int) -> Callable[[int], float]:
    """A loop that runs one epoch, as one that gives its images per second."""

    def run(epoch: int) -> float:
        start = time.perf_counter()
        run_epoch(epoch)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return images / (time.perf_counter() - start)

    return run


def sample(folder: Path, count: int) -> pd.DataFrame:
    """Draw training images from a folder; from all images where it is not split."""
    rows = image_folders.scan(folder)
    return rows[rows["split"].isin(["", "train"])].sample(count, random_state=0)


def build_loops(args: argparse.Namespace) -> dict[str, Callable[[int], float]]:
    """The loops to compare, by name: each gives the images per second of one epoch."""
    rows = sample(args.folder, args.images)
    names = sorted(rows["class"].unique())
    labels = [names.index(label) for label in rows["class"]]
    pixels = torch.from_numpy(images.load(args.folder, rows["path"], {"image_size": args.size}))
    split = training.Split(pixels, torch.tensor(labels))
    files = [args.folder / path for path in rows["path"]]
    loader = DataLoader(
        Files(files, labels, args.size), args.batch, shuffle=True, num_workers=THREADS
    )
    plain = backbones.build(args.backbone, len(names))
    channels_last = backbones.build(args.backbone, len(names)).to(memory_format=torch.channels_last)
    ours = our_loop(args, split, len(names))
    loops = {
        "ours": timed(ours.train_epoch, ours.steps * ours.batch_size),
        "plain, references-style": timed(
            plain_loop(plain, lambda: loader, args.device), len(labels)
        ),
        "plain, decoded once, channels-last": timed(
            plain_loop(channels_last, lambda: decoded_batches(split, args.batch), args.device),
            len(labels),
        ),
    }
    if args.timm_script:
        loops["timm's train.py"] = timm_loop(args, files)
    return loops


def measure(loops: dict[str, Callable[[int], float]]) -> dict[str, list[float]]:
    """Run the loops in turn: images per second of each loop in each round."""
    speeds: dict[str, list[float]] = {name: [] for name in loops}
    # The first epoch warms up: a GPU's kernels are looked for in it.
    for epoch in range(ROUNDS + 1):
        for name, run in loops.items():
            speed = run(epoch + 1)
            if epoch:
                speeds[name].append(speed)
    return speeds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="images, laid out as dataset.root")
    parser.add_argument("--backbone", default="mobilenet_v3_small", help="default: %(default)s")
    parser.add_argument("--size", type=int, default=160, help="pixels; default: %(default)s")
    parser.add_argument("--images", type=int, default=1024, help="a round; default: %(default)s")
    parser.add_argument("--batch", type=int, default=32, help="images; default: %(default)s")
    parser.add_argument("--device", default="cpu", help="cpu or cuda; default: %(default)s")
    parser.add_argument("--timm-script", type=Path, help="train.py of pytorch-image-models")
    args = parser.parse_args()
    torch.set_num_threads(THREADS)
    speeds = measure(build_loops(args))
    print(
        f"{args.backbone}, {args.size} px, batch {args.batch}, {args.device}, {THREADS} threads, "
        f"{args.images} images, {ROUNDS} rounds"
    )
    ours = statistics.median(speeds["ours"])
    for name, values in speeds.items():
        median = statistics.median(values)
        spread = f"({min(values):.1f} to {max(values):.1f})"
        print(f"{name:36} {median:7.1f} images/s  {spread}  ours is {ours / median:.2f}x")


if __name__ == "__main__":
    main()
