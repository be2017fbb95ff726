"""Train a statically quantized backbone on, quantization-aware, towards its FP32."""

from pathlib import Path

import torch
from beansweep.common import files, processors, progress, stage
from beansweep.data import images, manifest
from beansweep.evaluation import agreement
from beansweep.models import model_metadata
from beansweep.quantization import qat


def main(args) -> None:
    base, metadata = model_metadata.read(args.base_metadata)
    settings, preprocessing = args.settings, metadata["preprocessing"]
    # As in training: no more threads than processors.
    torch.set_num_threads(min(args.threads, settings["threads"], processors.cpus()))
    paths = manifest.paths(manifest.read(args.manifest), "train")
    what = f"{args.metadata.parent.name} {args.metadata.stem}"
    pixels = torch.from_numpy(
        images.load(args.root, paths, preprocessing["image_size"], f"train images for {what}")
    )
    reference = agreement.on_validation(args.reference, args.root, preprocessing)
    with files.replacing(args.output) as temporary:
        trials = qat.train(
            args.model,
            base,
            pixels,
            reference,
            settings,
            temporary,
            lambda steps, epoch: progress.track(steps, f"quantize_qat: {what}: {epoch}"),
        )
    chosen = min(trials, key=lambda trial: trial["kl"])["epoch"]
    recipe = {
        **metadata["recipe"],
        **settings,
        "equals_base": chosen == 0,
        "chosen_epoch": chosen,
        "trials": trials,
    }
    model_metadata.write(
        args.metadata,
        args.output,
        labels=metadata["labels"],
        preprocessing=preprocessing,
        session=metadata["session"],
        recipe=recipe,
        instruction_set=metadata["instruction_set"],
    )


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="prepared model")
    parser.add_argument(
        "--base-metadata", type=Path, required=True, help="of the quantized model to start from"
    )
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument(
        "--reference", type=Path, required=True, help="predictions of the float model"
    )
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--metadata", type=Path, required=True)
    stage.run(parser, main)
