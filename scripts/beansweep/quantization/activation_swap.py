"""Static quantization of a network with another activation, after a short training.

HardSwish was made to stand for SiLU where exponentials are dear (Howard et al. 2019, "Searching for
MobileNetV3"). In INT8 it is an addition and a multiplication of integers, and SiLU is computed in
float. ReLU costs nothing, as the range of a quantizer clips, and it is farther from SiLU. The
swapped network is another function. It learns to give the probabilities of the network that it was,
without labels (Hinton et al. 2015, "Distilling the Knowledge in a Neural Network"). Then it is
quantized as its base is.
"""

import tempfile
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pandas as pd
from torch import nn

from beansweep.common import progress
from beansweep.data import manifest, pixels, preprocess
from beansweep.evaluation import agreement, metrics
from beansweep.models import export, state_dicts, training
from beansweep.quantization import calibration, preparation, static
from beansweep.quantization.calibration import Calibration
from beansweep.quantization.quantized import Quantized
from beansweep.quantization.sources import Sources
from beansweep.quantization.swapped_activations import swapped

# What the network's training had and this one has not: what it starts from is trained already.
_SETTINGS = {"label_smoothing": 0.0, "weight_decay": 0.0, "warmup_epochs": 0.5}


class Swap:
    """A network, and all that its swapped copy is made from.

    Parameters
    ----------
    model : as it was trained, for inference
    preprocessing : image_size, mean and std
    rows : the manifest
    images : of the manifest
    reference : the validation images, with the network's own probabilities
    description : for lines on the progress
    """

    def __init__(
        self,
        model: nn.Module,
        preprocessing: dict,
        rows: pd.DataFrame,
        images: pixels.Images,
        reference: agreement.Reference,
        description: str,
    ):
        self.model = model
        self.preprocessing = preprocessing
        self.rows = rows
        self.images = images
        self.reference = reference
        self.description = description

    def quantize(
        self, recipe: dict, base: dict, calibrations: dict, resume: Path, run: str
    ) -> Quantized:
        """Swap the activation, train, and quantize as the base was.

        Parameters
        ----------
        recipe : activations, epochs, learning_rate (the peak, of AdamW); and of the network's
            training backbone, device, batch_size and seed
        base : the base's recipe, with every choice that was made for it
        calibrations : name -> how to find ranges
        resume, run : see `training.fit`

        Returns
        -------
        Its recipe has `swapped`, how many modules of each class, and as `trials` the divergence
        from the network as it was, before and after the training, in float, and of the INT8 model.
        """
        student, counts = swapped(self.model, recipe["activations"])
        progress.say(
            f"{self.description}: {counts['SiLU']} SiLU are {recipe['activations']} now, and "
            f"{counts['Sigmoid']} sigmoids hard-sigmoid"
        )
        trainer = self._trainer(student, recipe)
        trials = [{"step": "swapped", **self._score(trainer)}]
        training.fit(
            trainer, self._split("val"), metrics.macro_f1, resume, run, report=self._report
        )
        trials.append({"step": "trained", **self._score(trainer)})
        deployed, _ = swapped(self.model.cpu(), recipe["activations"])
        # The trained copy has layers that are made for training.
        state_dicts.load(deployed, trainer.model.state_dict())
        prepared = self._prepare(deployed, base["integer_rewrites"])
        sources = self._sources(prepared, base, calibrations)
        made = static.quantize(prepared, base, sources)
        trials.append({"step": "quantized", **static.score(made.model, self.reference)})
        outcome = {"swapped": counts, "trials": trials}
        return Quantized(made.model, {**made.recipe, **recipe, **outcome}, made.session)

    def _report(self, line: str) -> None:
        progress.say(f"{self.description}: {line}")

    def _trainer(self, student: nn.Module, recipe: dict) -> training.Trainer:
        """A training of a swapped network towards what it was."""
        # What it ends with is kept: its epochs are few, and no label chooses among them.
        settings = {**recipe, **_SETTINGS, "patience": recipe["epochs"]}
        classes = self.reference.probabilities.shape[1]
        split = self._split("train")
        return training.Trainer(
            student, settings, self.preprocessing, split, classes, teacher=self.model
        )

    def _split(self, split: str) -> training.Split:
        return training.read_split(self.rows, self.images, split, self.preprocessing)

    def _score(self, trainer: training.Trainer) -> dict:
        """Compare a network in float with what it was, on the validation images."""
        found = preprocess.softmax(trainer.predict(self.reference.inputs))
        expected = self.reference.probabilities
        same = found.argmax(axis=1) == expected.argmax(axis=1)
        return {"kl": agreement.divergence(expected, found), "agreement": float(same.mean())}

    def _prepare(self, model: nn.Module, rewritten: bool) -> ir.Model:
        """Export a network, check the export, and prepare it for the quantizers."""
        inputs = self._training_images(preparation.IMAGES, seed=0)[1]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "swapped.onnx")
            export.export_checked(model, inputs, path, f"{self.description}: export to ONNX")
            return preparation.prepare(ir.load(path), inputs if rewritten else None)

    def _sources(self, prepared: ir.Model, base: dict, calibrations: dict) -> Sources:
        """The ranges of the swapped network, found as those of the base were."""
        name = base["calibration"]
        chosen = calibrations[name]
        paths, inputs = self._training_images(chosen["images"], chosen["seed"])
        ranges = calibration.calibrate(
            prepared,
            chosen["method"],
            progress.track(inputs[:, None], f"{self.description}: calibrate"),
            narrow_ranges=base["integer_rewrites"],
        )
        found = {name: Calibration(chosen["method"], paths, ranges)}
        return Sources(found, self.images, self.preprocessing, description=self.description)

    def _training_images(self, count: int, seed: int) -> tuple[list[str], np.ndarray]:
        """Some training images: their paths, and float32 [n, 3, size, size]."""
        paths = manifest.paths(self.rows, "train", count, seed)
        return paths, pixels.network_inputs(self.images, paths, self.preprocessing)
