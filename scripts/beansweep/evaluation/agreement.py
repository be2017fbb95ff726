"""How near a quantized model stays to its FP32, on images kept decoded."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from beansweep.data import images, preprocess
from beansweep.evaluation import metrics, predictions
from beansweep.models import onnx_session


@dataclass
class Reference:
    """Images, and what FP32 makes of them.

    Attributes
    ----------
    inputs : uint8 [n, size, size, 3]
    probabilities : FP32's, float [n, classes]
    true : int [n] class indices, or None where nobody asks for macro-F1
    """

    inputs: np.ndarray
    preprocessing: dict
    probabilities: np.ndarray
    true: np.ndarray | None = None

    def score(self, session: onnxruntime.InferenceSession) -> dict:
        """Mean Kullback-Leibler divergence of a model's probabilities from FP32's, and the agreement.

        With true classes also `macro_f1`, and `loss`: FP32's macro-F1 less this one.
        """
        found = np.concatenate(
            [
                preprocess.softmax(
                    onnx_session.logits(
                        session, preprocess.normalise(image[None], self.preprocessing)
                    )
                )
                for image in self.inputs
            ]
        )
        tiny = np.finfo(np.float32).tiny
        divergence = self.probabilities * (np.log(self.probabilities + tiny) - np.log(found + tiny))
        predicted, expected = found.argmax(axis=1), self.probabilities.argmax(axis=1)
        result = {
            "kl": float(divergence.sum(axis=1).mean()),
            "agreement": float((predicted == expected).mean()),
        }
        if self.true is not None:
            classes = found.shape[1]
            result["macro_f1"] = metrics.macro_f1(self.true, predicted, classes)
            result["drop"] = metrics.macro_f1(self.true, expected, classes) - result["macro_f1"]
        return result


def on_validation(fp32_predictions: Path, root: Path, preprocessing: dict) -> Reference:
    """The validation images, with the predictions that `evaluate` wrote for FP32."""
    rows = predictions.read(fp32_predictions)
    rows = rows[rows["split"] == "val"]
    labels = predictions.labels_of(rows)
    return Reference(
        images.load(root, rows["path"], preprocessing["image_size"], "validation images"),
        preprocessing,
        rows[[f"p_{label}" for label in labels]].to_numpy(),
        predictions.indices(rows["class"], labels),
    )
