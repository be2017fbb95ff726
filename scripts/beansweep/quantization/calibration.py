"""Calibration: the activation ranges of a prepared model, found by running it on images."""

import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
from onnxruntime.quantization.calibrate import CalibrationCacheEncoder, create_calibrator
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from beansweep.common import files
from beansweep.common.errors import UserError
from beansweep.quantization import float_operators, range_narrowing

# Sorted, because the quantizer visits kinds of operators in the order given and a set has none.
OPERATORS = sorted({*QLinearOpsRegistry, *QDQRegistry})
# What each method of the configuration is called in ONNX Runtime, and its options. Its option
# CalibMaxIntermediateOutputs is left alone: it silently drops data.
METHODS = {
    "minmax": (CalibrationMethod.MinMax, {}),
    "moving_average": (
        CalibrationMethod.MinMax,
        {"moving_average": True, "averaging_constant": 0.05},
    ),
    "percentile": (CalibrationMethod.Percentile, {"symmetric": False}),
    "entropy": (CalibrationMethod.Entropy, {}),
}
_HISTOGRAMS = (CalibrationMethod.Percentile, CalibrationMethod.Entropy)


@dataclass
class Calibration:
    """The activation ranges of one prepared model.

    Attributes
    ----------
    method : one of `METHODS`
    images : paths of the images that the ranges are from
    ranges : as ONNX Runtime's cache of calibrations has them
    """

    method: str
    images: list[str]
    ranges: dict

    def bounds(self) -> range_narrowing.Bounds:
        """Return the range of each tensor: name -> lowest and highest."""
        found = {}
        for name, entry in self.ranges["data"].items():
            found[name] = _number(entry["lowest"]), _number(entry["highest"])
        return found


class _OneImage(CalibrationDataReader):
    """Hands one input to the calibrator, which then merges what it saw of it."""

    def __init__(self, feed: dict[str, np.ndarray]):
        self._feeds = iter([feed])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


def calibrate(
    model: ir.Model, method: str, inputs: Iterable[np.ndarray], *, narrow_ranges: bool = False
) -> dict:
    """Find the activation ranges of a prepared model.

    Parameters
    ----------
    method : minmax, moving_average, percentile or entropy
    inputs : float32 [1, 3, size, size] each; one image at a time, so that histograms merge and
        only one image's activations are ever in memory
    narrow_ranges : for a rewritten graph. Leave out of a range what makes no difference to its
        readers, see `range_narrowing`, and make no histograms of what stays in float

    Returns
    -------
    The ranges, as `Calibration` has them.
    """
    kind, options = METHODS[method]
    with tempfile.TemporaryDirectory() as folder:
        source, augmented = Path(folder, "model.onnx"), Path(folder, "augmented.onnx")
        ir.save(model, source)
        calibrator = create_calibrator(
            source, OPERATORS, str(augmented), kind, extra_options=options
        )
        if narrow_ranges and kind in _HISTOGRAMS:
            # They take minutes, and the search in them more.
            calibrator.tensors_to_calibrate -= float_operators.needless_ranges(model.graph)
        name = calibrator.infer_session.get_inputs()[0].name
        for image in inputs:
            calibrator.collect_data(_OneImage({name: image}))
        found = calibrator.compute_data()
    ranges = json.loads(json.dumps(found.to_dict(), cls=CalibrationCacheEncoder))
    # The calibrator's order is that of a set.
    ranges["data"] = dict(sorted(ranges["data"].items()))
    if narrow_ranges:
        bounds = Calibration(method, [], ranges).bounds()
        for tensor, ends in range_narrowing.narrow(model.graph, bounds).items():
            _set_bounds(ranges["data"][tensor], *ends)
    return ranges


def _number(value: dict | float) -> float:
    """Read one end of a range: some methods leave an array, some a number."""
    return float(np.ravel(value["data"] if isinstance(value, dict) else value)[0])


def _set_bounds(entry: dict, lowest: float, highest: float) -> None:
    """Change one tensor's range, in the form that it has."""
    for end, bound in (("lowest", lowest), ("highest", highest)):
        if isinstance(entry[end], dict):
            entry[end]["data"] = np.full(np.shape(entry[end]["data"]), bound).tolist()
        else:
            entry[end] = bound


def write(path: Path, model: Path, method: str, images: list[str], ranges: dict) -> None:
    """Write the ranges of a model as JSON, with its digest and what they are from."""
    files.write_json(
        path,
        {
            "method": method,
            "model_sha256": files.sha256(model),
            "images": images,
            "ranges": ranges,
        },
    )


def read(paths: list[Path], model: Path) -> dict[str, Calibration]:
    """Read the ranges of a model: name of the calibration -> calibration.

    Parameters
    ----------
    paths : files `{graph}-{name}.json`

    Raises
    ------
    UserError
        The ranges were found on another model.
    """
    found = {}
    for path in paths:
        contents = files.read_json(path)
        if contents["model_sha256"] != files.sha256(model):
            raise UserError(
                f"{path} was made from another model than {model}: remove it and run again"
            )
        name = path.stem.partition("-")[2]
        found[name] = Calibration(contents["method"], contents["images"], contents["ranges"])
    return found
