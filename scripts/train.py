"""Train one backbone, and keep the weights of its best epoch by validation macro-F1."""

from pathlib import Path

import pandas as pd
from beansweep.common import files, memory, stage
from beansweep.data import pixels
from beansweep.evaluation import metrics
from beansweep.models import backbone_training, checkpoints, saved_state


def main(args) -> None:
    memory.keep_freed()
    resume = saved_state.path_for(args.output_checkpoint)
    images = pixels.read(args.root, args.manifest, args.pixels)
    checkpoint, history = backbone_training.train(
        args.settings, args.manifest, images, args.threads, args.code, resume, metrics.macro_f1
    )
    with files.replacing(args.output_history) as temporary:
        pd.DataFrame(history).to_csv(temporary, index=False)
    checkpoints.write(args.output_checkpoint, checkpoint)
    resume.unlink()


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True, help="folder of images")
    parser.add_argument("--pixels", type=Path, required=True, help="record of decoded images")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--code", default="", help="digest of the code that a saved state must match"
    )
    parser.add_argument("--output-checkpoint", type=Path, required=True)
    parser.add_argument("--output-history", type=Path, required=True)
    stage.run(parser, main)
