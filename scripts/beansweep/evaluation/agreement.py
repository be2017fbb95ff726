"""Agreement of a quantized model with its FP32 model."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from beansweep.data import pixels, preprocess
from beansweep.evaluation import metrics, predictions
from beansweep.models import onnx_session


@dataclass
class Reference:
    """Images, and the probabilities that the FP32 model gives them.

    Attributes
    ----------
    inputs : uint8 [n, size, size, 3], or as much as a selection that is read when indexed
    preprocessing : image_size, mean and std
    probabilities : of FP32, float [n, classes]
    true : int [n] class indices; None where no macro-F1 is needed
    float_kernels : score quantized models in float kernels, since the machine that they are for
        computes otherwise than this one
    """

    inputs: np.ndarray | pixels.Selection
    preprocessing: dict
    probabilities: np.ndarray
    true: np.ndarray | None = None
    float_kernels: bool = False

    def score(self, session: onnxruntime.InferenceSession) -> dict:
        """Compare a model with FP32.

        Returns
        -------
        kl : mean Kullback-Leibler divergence of its probabilities from FP32's, in nats
        agreement : share of images with the same predicted class
        macro_f1, drop : macro-F1, and FP32's macro-F1 less this one; only with true classes
        """
        found = self._probabilities(session)
        predicted, expected = found.argmax(axis=1), self.probabilities.argmax(axis=1)
        result = {
            "kl": divergence(self.probabilities, found),
            "agreement": float((predicted == expected).mean()),
        }
        if self.true is not None:
            classes = found.shape[1]
            result["macro_f1"] = metrics.macro_f1(self.true, predicted, classes)
            result["drop"] = metrics.macro_f1(self.true, expected, classes) - result["macro_f1"]
        return result

    def _probabilities(self, session: onnxruntime.InferenceSession) -> np.ndarray:
        """The probabilities that a model gives the images, one by one: float [n, classes]."""
        probabilities = []
        for number in range(len(self.inputs)):
            network_input = preprocess.normalise(self.inputs[number][None], self.preprocessing)
            logits = onnx_session.logits(session, network_input)
            probabilities.append(preprocess.softmax(logits))
        return np.concatenate(probabilities)


def divergence(expected: np.ndarray, found: np.ndarray) -> float:
    """Mean Kullback-Leibler divergence of probabilities from those expected, in nats.

    Parameters
    ----------
    expected, found : float [n, classes]
    """
    tiny = np.finfo(np.float32).tiny
    each = expected * (np.log(expected + tiny) - np.log(found + tiny))
    return float(each.sum(axis=1).mean())


def on_validation(
    fp32_predictions: Path, images: pixels.Images, preprocessing: dict, float_kernels: bool
) -> Reference:
    """The validation images, with the predictions that `evaluate` wrote for FP32.

    Parameters
    ----------
    fp32_predictions : table of predictions
    images : of the manifest
    preprocessing : image_size, mean and std
    float_kernels : as for `Reference`
    """
    rows = predictions.read(fp32_predictions)
    rows = rows[rows["split"] == "val"]
    labels = predictions.labels_of(rows)
    inputs = images.select(rows["path"], preprocessing)
    probabilities = rows[[f"p_{label}" for label in labels]].to_numpy()
    true = predictions.indices(rows["class"], labels)
    return Reference(inputs, preprocessing, probabilities, true, float_kernels)
