"""Choosing how to quantize: on the validation images, by nearness to FP32."""

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from beansweep.common import files
from beansweep.data import images, preprocess
from beansweep.evaluation.agreement import Reference
from beansweep.models import onnx_session
from beansweep.quantization import bias_correction, gptq, quantization

Watch = Callable[[Iterable], Iterator]
_BIAS_IMAGES = 48


@dataclass
class Samples:
    """The images that a calibration saw, for what a recipe does beyond ranges: read when first asked for."""

    model: Path
    calibration: Path
    root: Path
    preprocessing: dict

    @cached_property
    def inputs(self) -> np.ndarray:
        """float32 [n, 3, size, size]"""
        paths = files.read_json(self.calibration)["images"]
        return preprocess.normalise(
            images.load(self.root, paths, self.preprocessing["image_size"]), self.preprocessing
        )

    @cached_property
    def rounding(self) -> gptq.Rounding:
        """How the model's weights are rounded by what they do to these images."""
        return gptq.Rounding(self.model, self.inputs)


def refine(quantized: Path, recipe: dict, samples: Samples) -> None:
    """Round the weights and correct the biases of a quantized model as its recipe says, in place."""
    if recipe["rounding"] == "gptq":
        samples.rounding.apply(quantized, quantized)
    if recipe["bias_correction"]:
        bias_correction.correct(samples.model, quantized, samples.inputs[:_BIAS_IMAGES], quantized)


def calibration_of(path: Path) -> str:
    """Name of the calibration in a file of ranges, `{graph}-{name}.json`."""
    return path.stem.partition("-")[2]


def quantize(
    calibration: Path, recipe: dict, samples: Samples, output: Path, skip: Sequence[str] = ()
) -> None:
    """`quantization.quantize` and `refine`."""
    quantization.quantize(samples.model, calibration, recipe, output, skip=skip)
    refine(output, recipe, samples)


def _score(quantized: Path, reference: Reference) -> dict:
    return reference.score(onnx_session.create(quantized, quantization.session_entries(quantized)))


def static(
    calibrations: dict[str, Path],
    recipe: dict,
    samples: Samples,
    reference: Reference | None,
    output: Path,
    watch: Watch,
) -> dict:
    """Quantize with each calibration that a recipe names, and keep the nearest to FP32.

    Nearest is the least Kullback-Leibler divergence on the validation images: it is paired with FP32
    and moves with every image, so it is less a matter of luck than agreement or macro-F1.

    Parameters
    ----------
    calibrations : name -> file of ranges
    recipe : as for `quantization.quantize`; `bias_correction` may be `auto`: with and without
    reference : the validation images; None where the recipe leaves nothing to choose

    Returns
    -------
    The recipe with the calibration and the bias correction that were chosen, and as `trials` the
    scores of all.
    """
    corrections = (
        [False, True] if recipe["bias_correction"] == "auto" else [recipe["bias_correction"]]
    )
    ways = [
        {**recipe, "calibration": name, "bias_correction": corrected}
        for name, corrected in itertools.product(calibrations, corrections)
    ]
    trials, nearest = [], None
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / "trial.onnx"
        for way in watch(ways):
            quantize(calibrations[way["calibration"]], way, samples, trial)
            score = {} if len(ways) == 1 else _score(trial, reference)
            divergence = score.get("kl", 0.0)
            if nearest is None or divergence < nearest:
                best, nearest = way, divergence
                shutil.copy(trial, output)
            trials.append(
                {
                    "calibration": way["calibration"],
                    "bias_correction": way["bias_correction"],
                    **score,
                }
            )
    return {**best, "trials": trials if len(ways) > 1 else []}


def mixed(
    recipe: dict,
    samples: Samples,
    reference: Reference,
    max_accuracy_drop: float,
    ranking: list[str],
    base: Path,
    output: Path,
    watch: Watch,
) -> dict:
    """Keep the most sensitive layers in float until the loss of macro-F1 on validation is small enough.

    The count of layers is doubled until it suffices, then halved down to the least that does.

    Parameters
    ----------
    recipe : with calibration and bias correction settled
    ranking : names of layers, the most sensitive first
    base : the model with every layer in INT8, which is copied where it already meets the bound

    Returns
    -------
    `float_layers`, `loss` (FP32's macro-F1 on validation less the model's), `equals_base`, and as
    `trials` the score of each count that was tried.
    """
    layers = quantization.layers(samples.model)
    trials = {}

    def suffices(count: int) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            trial = base
            if count:
                trial = Path(folder) / "trial.onnx"
                skip = [node for layer in ranking[:count] for node in layers[layer]]
                quantize(samples.calibration, recipe, samples, trial, skip)
            trials[count] = _score(trial, reference)
            enough = trials[count]["drop"] <= max_accuracy_drop or count == len(ranking)
            if enough:
                shutil.copy(trial, output)
        return enough

    powers = [2**power for power in range(len(ranking).bit_length())]
    enough = next(
        count for count in watch([0, *powers, len(ranking)]) if suffices(min(count, len(ranking)))
    )
    enough = min(enough, len(ranking))
    too_few = max((count for count in trials if count < enough), default=enough)
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if suffices(middle):
            enough = middle
        else:
            too_few = middle
    return {
        "float_layers": ranking[:enough],
        "drop": trials[enough]["drop"],
        "equals_base": enough == 0,
        "trials": [{"float_layers": count, **score} for count, score in trials.items()],
    }
