"""Images per second of this project's training loop beside a plain one, in turn, on one machine.

    python scripts/tools/train_speed.py FOLDER [--backbone NAME] [--size PIXELS] [--images N]

FOLDER is laid out as dataset.root. The plain loop is that of torchvision's
references/classification: ImageFolder, random resized crop, flip, to tensor, normalise, a
DataLoader that decodes every image in every epoch, and the optimiser as it comes. A second plain
loop has what is easily had as well: images decoded once, and channels-last. Both are timed in
rounds with ours, and the medians compared.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from beansweep.data import image_folders, images, preprocess
from beansweep.models import backbones, training

BATCH = 32
ROUNDS = 3


class Files(Dataset):
    """Image files, decoded and augmented one by one as references/classification does."""

    def __init__(self, root: Path, paths: list[str], labels: list[int], size: int):
        self.files = [root / path for path in paths]
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


def plain_epoch(model: nn.Module, optimiser: torch.optim.Optimizer, batches) -> None:
    """One epoch of the plain loop over (inputs, labels) batches."""
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)
    model.train()
    for inputs, labels in batches:
        optimiser.zero_grad()
        loss(model(inputs), labels).backward()
        optimiser.step()


def decoded_batches(pixels: torch.Tensor, labels: torch.Tensor):
    """Batches of decoded images, flipped and normalised, channels last."""
    mean, std = (torch.tensor(backbones.IMAGENET[key]).view(3, 1, 1) for key in ("mean", "std"))
    for chosen in torch.randperm(len(labels)).split(BATCH):
        inputs = pixels[chosen].permute(0, 3, 1, 2).float() / 255
        flipped = torch.rand(len(chosen)) < 0.5
        inputs[flipped] = inputs[flipped].flip(-1)
        yield ((inputs - mean) / std).contiguous(memory_format=torch.channels_last), labels[chosen]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbone", default="mobilenet_v3_small")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--images", type=int, default=1024)
    args = parser.parse_args()
    threads = os.cpu_count()
    torch.set_num_threads(threads)
    rows = image_folders.scan(args.folder)
    rows = rows[rows["split"].isin(["", "train"])].sample(args.images, random_state=0)
    names = sorted(rows["class"].unique())
    labels = [names.index(label) for label in rows["class"]]
    split = training.Split(
        torch.from_numpy(images.load(args.folder, rows["path"], args.size)), torch.tensor(labels)
    )

    settings = {
        "backbone": args.backbone,
        "device": "cpu",
        "batch_size": BATCH,
        "label_smoothing": 0.1,
        "weight_decay": 0.05,
        "learning_rate": 1e-3,
        "epochs": 100,
        "warmup_epochs": 1,
        "seed": 0,
    }
    trainer = training.Trainer(
        backbones.build(args.backbone, len(names)),
        settings,
        {"image_size": args.size, **backbones.IMAGENET},
        split,
        len(names),
    )
    loader = DataLoader(
        Files(args.folder, rows["path"].tolist(), labels, args.size),
        BATCH,
        shuffle=True,
        num_workers=threads,
    )
    plain = backbones.build(args.backbone, len(names))
    decoded = backbones.build(args.backbone, len(names)).to(memory_format=torch.channels_last)
    optimisers = {
        id(model): torch.optim.AdamW(model.parameters(), lr=1e-3) for model in (plain, decoded)
    }
    loops = {
        "ours": lambda round_: trainer.train_epoch(round_ + 1),
        "plain, references-style": lambda round_: plain_epoch(plain, optimisers[id(plain)], loader),
        "plain, decoded once, channels-last": lambda round_: plain_epoch(
            decoded, optimisers[id(decoded)], decoded_batches(split.pixels, split.labels)
        ),
    }
    speeds = {name: [] for name in loops}
    for round_ in range(ROUNDS):
        for name, loop in loops.items():
            start = time.perf_counter()
            loop(round_)
            speeds[name].append(args.images / (time.perf_counter() - start))
    ours = statistics.median(speeds["ours"])
    print(
        f"{args.backbone}, {args.size} px, batch {BATCH}, {threads} threads, {args.images} images, {ROUNDS} rounds"
    )
    for name, values in speeds.items():
        middle = statistics.median(values)
        spread = f"({min(values):.1f} to {max(values):.1f})"
        print(f"{name:36} {middle:7.1f} images/s  {spread}  ours is {ours / middle:.2f}x")


if __name__ == "__main__":
    main()
