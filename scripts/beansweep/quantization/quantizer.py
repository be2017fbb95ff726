"""What every quantizer takes and gives."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx

from beansweep.common import files
from beansweep.data import images, preprocess
from beansweep.evaluation import agreement
from beansweep.models import model_metadata
from beansweep.quantization import onnx_graph
from beansweep.quantization.calibration import Calibration


@dataclass
class Sources:
    """What a quantizer may use besides the prepared model; images are read when first asked for.

    Attributes
    ----------
    calibrations : name -> ranges of the prepared model
    root : folder that the images' paths are relative to
    preprocessing : image_size, mean and std
    fp32_predictions : file of predictions; only where a recipe leaves a choice
    description : for lines on the progress
    """

    calibrations: dict[str, Calibration]
    root: Path
    preprocessing: dict
    fp32_predictions: Path | None = None
    description: str = "quantize"

    @cached_property
    def inputs(self) -> np.ndarray:
        """The images that the first calibration saw: float32 [n, 3, size, size]."""
        first = next(iter(self.calibrations.values()))
        pixels = images.load(self.root, first.images, self.preprocessing["image_size"])
        return preprocess.normalise(pixels, self.preprocessing)

    @cached_property
    def validation(self) -> agreement.Reference:
        """The validation images, with FP32's predictions."""
        return agreement.on_validation(self.fp32_predictions, self.root, self.preprocessing)


class Quantized(NamedTuple):
    """A quantized model.

    Attributes
    ----------
    model : to be written as it is
    recipe : how it was made, with every choice that was left open
    session : the session options of ONNX Runtime that it has to be run with
    """

    model: onnx.ModelProto
    recipe: dict
    session: dict[str, str]


def write(
    quantized: Quantized, model: Path, metadata: Path, origin: dict, instruction_set: str
) -> None:
    """Write a quantized model and its metadata.

    Parameters
    ----------
    model, metadata : files to write
    origin : the metadata of the model that it was made from
    instruction_set : what it is for
    """
    with files.replacing(model) as temporary:
        onnx_graph.save(quantized.model, temporary)
    model_metadata.write(
        metadata,
        model,
        labels=origin["labels"],
        preprocessing=origin["preprocessing"],
        session=quantized.session,
        recipe=quantized.recipe,
        instruction_set=instruction_set,
    )
