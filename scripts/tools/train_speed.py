"""Compare the speed of this project's training loop with that of plain loops, in images per second.

    python scripts/tools/train_speed.py FOLDER [--backbone NAME] [--size PIXELS] [--images N]

The plain loop is that of torchvision's references/classification: ImageFolder, random resized
crop, flip, to tensor, normalise, a DataLoader that decodes every image in every epoch, and the
optimiser with its defaults. A second plain loop has two improvements that are easy to have:
images decoded once, and channels last. All loops take turns, and the medians are compared.
"""

import argparse
import os
import statistics
import sys
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
from beansweep.models import backbones, training

THREADS = os.cpu_count() or 1
BATCH = 32
ROUNDS = 3


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


def decoded_batches(split: training.Split) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of decoded images, flipped and normalised, channels last, with their labels."""
    mean = torch.tensor(backbones.IMAGENET["mean"]).view(3, 1, 1)
    std = torch.tensor(backbones.IMAGENET["std"]).view(3, 1, 1)
    for chosen in torch.randperm(len(split.labels)).split(BATCH):
        inputs = torch.as_tensor(split.pixels[chosen]).permute(0, 3, 1, 2).float() / 255
        flipped = torch.rand(len(chosen)) < 0.5
        inputs[flipped] = inputs[flipped].flip(-1)
        inputs = ((inputs - mean) / std).contiguous(memory_format=torch.channels_last)
        yield inputs, split.labels[chosen]


def plain_loop(model: nn.Module, batches: Callable[[], Iterable]) -> Callable[[int], None]:
    """A plain training loop: a function that runs one epoch, given its number.

    Parameters
    ----------
    model : to train
    batches : gives the (inputs, labels) of one epoch
    """
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def run_epoch(epoch: int) -> None:
        model.train()
        for inputs, labels in batches():
            optimiser.zero_grad()
            loss(model(inputs), labels).backward()
            optimiser.step()

    return run_epoch


def our_loop(backbone: str, size: int, split: training.Split, classes: int) -> training.Trainer:
    """This project's training of a backbone on one split."""
    settings = {
        "backbone": backbone,
        "device": "cpu",
        "batch_size": BATCH,
        "label_smoothing": 0.1,
        "weight_decay": 0.05,
        "learning_rate": 1e-3,
        "epochs": 100,
        "warmup_epochs": 1,
        "seed": 0,
    }
    preprocessing = {"image_size": size, **backbones.IMAGENET}
    model = backbones.build(backbone, classes)
    return training.Trainer(model, settings, preprocessing, split, classes)


def sample(folder: Path, count: int) -> pd.DataFrame:
    """Draw training images from a folder; from all images where it is not split."""
    rows = image_folders.scan(folder)
    return rows[rows["split"].isin(["", "train"])].sample(count, random_state=0)


def build_loops(args: argparse.Namespace) -> dict[str, Callable[[int], object]]:
    """The loops to compare, by name: functions that run one epoch, given its number."""
    rows = sample(args.folder, args.images)
    names = sorted(rows["class"].unique())
    labels = [names.index(label) for label in rows["class"]]
    pixels = torch.from_numpy(images.load(args.folder, rows["path"], {"image_size": args.size}))
    split = training.Split(pixels, torch.tensor(labels))
    files = [args.folder / path for path in rows["path"]]
    loader = DataLoader(Files(files, labels, args.size), BATCH, shuffle=True, num_workers=THREADS)
    plain = backbones.build(args.backbone, len(names))
    channels_last = backbones.build(args.backbone, len(names)).to(memory_format=torch.channels_last)
    return {
        "ours": our_loop(args.backbone, args.size, split, len(names)).train_epoch,
        "plain, references-style": plain_loop(plain, lambda: loader),
        "plain, decoded once, channels-last": plain_loop(
            channels_last, lambda: decoded_batches(split)
        ),
    }


def measure(loops: dict[str, Callable[[int], object]], count: int) -> dict[str, list[float]]:
    """Run the loops in turn: images per second of each loop in each round."""
    speeds: dict[str, list[float]] = {name: [] for name in loops}
    for epoch in range(1, ROUNDS + 1):
        for name, run_epoch in loops.items():
            start = time.perf_counter()
            run_epoch(epoch)
            speeds[name].append(count / (time.perf_counter() - start))
    return speeds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="images, laid out as dataset.root")
    parser.add_argument("--backbone", default="mobilenet_v3_small", help="default: %(default)s")
    parser.add_argument("--size", type=int, default=160, help="pixels; default: %(default)s")
    parser.add_argument("--images", type=int, default=1024, help="a round; default: %(default)s")
    args = parser.parse_args()
    torch.set_num_threads(THREADS)
    speeds = measure(build_loops(args), args.images)
    print(
        f"{args.backbone}, {args.size} px, batch {BATCH}, {THREADS} threads, "
        f"{args.images} images, {ROUNDS} rounds"
    )
    ours = statistics.median(speeds["ours"])
    for name, values in speeds.items():
        median = statistics.median(values)
        spread = f"({min(values):.1f} to {max(values):.1f})"
        print(f"{name:36} {median:7.1f} images/s  {spread}  ours is {ours / median:.2f}x")


if __name__ == "__main__":
    main()
