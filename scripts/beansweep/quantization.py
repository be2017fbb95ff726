"""Static INT8 quantization with ONNX Runtime, in steps that are each a file."""

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import CalibrationCacheEncoder, create_calibrator
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry
from onnxruntime.quantization.shape_inference import quant_pre_process

from beansweep import files
from beansweep.stage import UserError

# Sorted, because the quantizer visits operator kinds in the order given and a set has none.
_OPERATORS = sorted({*QLinearOpsRegistry, *QDQRegistry})

# What each method of config.yaml is called in ONNX Runtime. Its CalibMaxIntermediateOutputs is
# left alone: it silently drops data.
_METHODS = {
    "minmax": (CalibrationMethod.MinMax, {}),
    "moving_average": (CalibrationMethod.MinMax, {"moving_average": True, "averaging_constant": 0.05}),
    "percentile": (CalibrationMethod.Percentile, {"symmetric": False}),
    "entropy": (CalibrationMethod.Entropy, {}),
}


def prepare(model: Path, output: Path) -> None:
    """Infer shapes and fold the float graph, as ONNX Runtime wants it before quantization."""
    quant_pre_process(model, output)
    # A graph that was optimised for this machine may be laid out for its instruction set alone.
    onnx.checker.check_model(onnx.load(output), full_check=True)


class _OneImage(CalibrationDataReader):
    """Hands one input to the calibrator, which then merges what it saw of it."""

    def __init__(self, feed: dict[str, np.ndarray]):
        self._feeds = iter([feed])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


def calibrate(model: Path, method: str, inputs: Iterable[np.ndarray], image_paths: list[str], output: Path) -> None:
    """Find the activation ranges of a prepared model and write them as JSON.

    Parameters
    ----------
    method : minmax, moving_average, percentile or entropy
    inputs : float32 [1, 3, size, size] each; one image at a time, so that histograms merge and
        only one image's activations are ever in memory
    image_paths : what the inputs were read from, for the record
    output : JSON with the digest of the model, the image list and the ranges
    """
    kind, options = _METHODS[method]
    with tempfile.TemporaryDirectory() as folder:
        calibrator = create_calibrator(
            model, _OPERATORS, str(Path(folder) / "augmented.onnx"), kind, extra_options=options
        )
        name = calibrator.infer_session.get_inputs()[0].name
        for image in inputs:
            calibrator.collect_data(_OneImage({name: image}))
        ranges = calibrator.compute_data()
    files.write_json(output, {
        "method": method,
        "model_sha256": files.sha256(model),
        "images": image_paths,
        "ranges": json.loads(json.dumps(ranges.to_dict(), cls=CalibrationCacheEncoder)),
    })


def quantize(model: Path, calibration: Path, recipe: dict, output: Path) -> None:
    """Quantize a prepared model to QDQ form with ranges found earlier.

    Parameters
    ----------
    recipe : per_channel, reduce_range, weight_type and activation_type, as in config.yaml

    Raises
    ------
    UserError
        The ranges were found on another model.
    """
    ranges = files.read_json(calibration)
    if ranges["model_sha256"] != files.sha256(model):
        raise UserError(f"{calibration} was made from another model than {model}: remove it and run again")
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "ranges.json"
        cache.write_text(json.dumps(ranges["ranges"]))
        quantize_static(
            model, output, quant_format=QuantFormat.QDQ, op_types_to_quantize=_OPERATORS,
            per_channel=recipe["per_channel"], reduce_range=recipe["reduce_range"],
            activation_type=QuantType[recipe["activation_type"]], weight_type=QuantType[recipe["weight_type"]],
            calibrate_method=_METHODS[ranges["method"]][0], calibration_cache_path=cache,
        )
    onnx.checker.check_model(onnx.load(output), full_check=True)
