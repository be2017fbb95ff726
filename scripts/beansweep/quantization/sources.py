"""What a quantizer may use besides the prepared model."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from beansweep.data import pixels
from beansweep.evaluation import agreement
from beansweep.quantization.calibration import Calibration


@dataclass
class Sources:
    """Ranges and images for a quantizer; images are read when first asked for.

    Attributes
    ----------
    calibrations : name -> ranges of the prepared model
    images : of the manifest
    preprocessing : image_size, mean and std
    fp32_predictions : file of predictions; only where a recipe leaves a choice
    description : for lines on the progress
    float_kernels : as for `agreement.Reference`
    """

    calibrations: dict[str, Calibration]
    images: pixels.Images
    preprocessing: dict
    fp32_predictions: Path | None = None
    description: str = "quantize"
    float_kernels: bool = False

    @cached_property
    def inputs(self) -> np.ndarray:
        """The images that the first calibration saw: float32 [n, 3, size, size]."""
        first = next(iter(self.calibrations.values()))
        return pixels.network_inputs(self.images, first.images, self.preprocessing)

    @cached_property
    def validation(self) -> agreement.Reference:
        """The validation images, with FP32's predictions."""
        return agreement.on_validation(
            self.fp32_predictions, self.images, self.preprocessing, self.float_kernels
        )
