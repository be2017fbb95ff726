"""Train one backbone and keep the weights of its best epoch by validation macro-F1."""

import hashlib
import json
from pathlib import Path

import pandas as pd
import torch
from beansweep.common import files, processors, progress, stage
from beansweep.data import images, manifest
from beansweep.evaluation import metrics
from beansweep.models import backbones, pretrained_weights, training


def read_split(
    rows: pd.DataFrame, root: Path, split: str, labels: list[str], name: str, image_size: int
) -> training.Split:
    """Decode one split into memory, for the backbone that `name` names."""
    rows = rows[rows["split"] == split]
    pixels = images.load(root, rows["path"], image_size, f"{split} images for {name}")
    return training.Split(
        torch.from_numpy(pixels), torch.tensor([labels.index(label) for label in rows["class"]])
    )


def main(args) -> None:
    settings = args.settings
    name = settings["backbone"]
    # `--cores 4` is accepted on two cores; threads that wait for each other on one halve the speed.
    threads = min(args.threads, settings["threads"], processors.cpus())
    torch.set_num_threads(threads)
    torch.manual_seed(settings["seed"])
    rows = manifest.read(args.manifest)
    labels = manifest.labels(rows)
    model = backbones.build(name, len(labels))
    preprocessing = backbones.preprocessing(model, settings)
    pretrained = pretrained_weights.load_weights(model, name, settings["weights"])
    size = preprocessing["image_size"]
    if size != settings["image_size"]:
        progress.say(
            f"{name}: images of {size} pixels, not {settings['image_size']}: this network takes no other"
        )
    train, val = (
        read_split(rows, args.root, split, labels, name, size) for split in ("train", "val")
    )
    trainer = training.Trainer(model, settings, preprocessing, train, len(labels), pretrained)
    run = hashlib.sha256(
        json.dumps([settings, args.code, threads, files.sha256(args.manifest)]).encode()
    ).hexdigest()
    # Not an output of the rule: Snakemake would delete it when the job is killed.
    resume = args.checkpoint.with_name(".resume.pt")
    training.fit(
        trainer,
        val,
        metrics.macro_f1,
        resume,
        run,
        lambda line: progress.say(f"train: {name}: {line}"),
    )
    with files.replacing(args.history) as temporary:
        pd.DataFrame(trainer.history).to_csv(temporary, index=False)
    # To an open file: in a file that it opens itself, torch would write the temporary name.
    with files.replacing(args.checkpoint) as temporary, temporary.open("wb") as file:
        torch.save(
            {
                "backbone": name,
                "labels": labels,
                "preprocessing": preprocessing,
                "model": trainer.best,
            },
            file,
        )
    resume.unlink()


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--history", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--code", default="", help="digest of the code that a saved state must match"
    )
    stage.run(parser, main)
