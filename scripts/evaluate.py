"""Predict every validation and test image with one model, as it would be deployed."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from beansweep import files, images, manifest, runtime, stage


def predict(card: Path, root: Path, rows: pd.DataFrame, threads: int) -> pd.DataFrame:
    """The rows' path, split and class, with the predicted class and each class's probability."""
    session, contents = runtime.load(card)
    labels, preprocessing = contents["labels"], contents["preprocessing"]

    def one(path: str) -> np.ndarray:
        # Batch 1, one thread: the same arithmetic as on the device, whatever the batch would do.
        pixels = images.fit(images.read(root / path, preprocessing["image_size"]), preprocessing["image_size"])
        return runtime.softmax(runtime.logits(session, images.normalise(pixels[None], preprocessing)))[0]

    with ThreadPoolExecutor(threads) as pool:
        done = stage.progress(pool.map(one, rows["path"]), f"evaluate: {card.parent.name} {card.stem}", len(rows))
        probabilities = np.stack(list(done))
    result = rows[["path", "split", "class"]].reset_index(drop=True)
    result["predicted"] = [labels[index] for index in probabilities.argmax(axis=1)]
    return pd.concat([result, pd.DataFrame(probabilities, columns=[f"p_{label}" for label in labels])], axis=1)


def main(args) -> None:
    rows = manifest.read(args.manifest)
    result = predict(args.card, args.root, rows[rows["split"].isin(["val", "test"])], min(args.threads, images.cpus()))
    with files.replacing(args.output) as temporary:
        result.to_csv(temporary, index=False, float_format="%.9g")


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--card", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    stage.run(parser, main)
