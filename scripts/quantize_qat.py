"""Train a statically quantized backbone on, quantization-aware, towards its FP32."""

from pathlib import Path

import torch
from beansweep import fidelity, files, images, manifest, qat, runtime, stage


def main(args) -> None:
    base, card = runtime.described(args.base_card)
    settings, preprocessing = args.settings, card["preprocessing"]
    # As in training: no more threads than processors.
    torch.set_num_threads(min(args.threads, settings["threads"], images.cpus()))
    paths = manifest.paths(manifest.read(args.manifest), "train")
    what = f"{args.card.parent.name} {args.card.stem}"
    pixels = torch.from_numpy(images.load(args.root, paths, preprocessing["image_size"], f"train images for {what}"))
    reference = fidelity.on_validation(args.reference, args.root, preprocessing)
    with files.replacing(args.output) as temporary:
        trials = qat.train(
            args.model, base, pixels, reference, settings, temporary,
            lambda steps, epoch: stage.progress(steps, f"quantize_qat: {what}: {epoch}"))
    chosen = min(trials, key=lambda trial: trial["kl"])["epoch"]
    recipe = {**card["recipe"], **settings, "equals_base": chosen == 0, "chosen_epoch": chosen, "trials": trials}
    runtime.write_card(args.card, args.output, labels=card["labels"], preprocessing=preprocessing,
                       session=card["session"], recipe=recipe, instruction_set=card["instruction_set"])


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="prepared model")
    parser.add_argument("--base-card", type=Path, required=True, help="of the quantized model to start from")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--reference", type=Path, required=True, help="predictions of the float model")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--card", type=Path, required=True)
    stage.run(parser, main)
