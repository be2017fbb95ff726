"""INT8 quantization with ONNX Runtime, in steps that are each a file."""

import json
import math
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.calibrate import CalibrationCacheEncoder, create_calibrator
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry
from onnxruntime.quantization.shape_inference import quant_pre_process

from beansweep.common import files
from beansweep.common.errors import UserError
from beansweep.quantization import integer_rewrites, qdq

# Sorted, because the quantizer visits operator kinds in the order given and a set has none.
_OPERATORS = sorted({*QLinearOpsRegistry, *QDQRegistry})

# What each method of config.yaml is called in ONNX Runtime. Its CalibMaxIntermediateOutputs is
# left alone: it silently drops data.
_METHODS = {
    "minmax": (CalibrationMethod.MinMax, {}),
    "moving_average": (
        CalibrationMethod.MinMax,
        {"moving_average": True, "averaging_constant": 0.05},
    ),
    "percentile": (CalibrationMethod.Percentile, {"symmetric": False}),
    "entropy": (CalibrationMethod.Entropy, {}),
}
# A sigmoid is within half of a step of 255 from 0 or 1 where its input is further from 0.
_OPEN = math.log(2 * 255 - 1)
# What makes ONNX Runtime fold DequantizeLinear of a constant when it loads, instead of computing
# it in every query.
FOLD_WEIGHTS = {"session.disable_quant_qdq": "1"}
# Where a layer in float reads what was quantized, ONNX Runtime would quantize its weights on loading,
# with one scale a tensor.
KEEP_FLOAT = {"optimization.disable_specified_optimizers": "WeightBiasQuantization"}


def prepare(model: Path, output: Path, inputs: np.ndarray | None = None) -> None:
    """Ready a float model for the quantizer: shapes inferred, constants folded, layers named.

    With `inputs`, some images as float32 [n, 3, size, size], it is rewritten for integer kernels
    as well (see `beansweep.rewrites`).
    """
    with tempfile.TemporaryDirectory() as folder:
        if inputs is not None:
            rewritten = Path(folder) / "rewritten.onnx"
            integer_rewrites.integer_graph(model, inputs, rewritten)
            model = rewritten
        quant_pre_process(model, output)
    _name_layers(output)
    # A graph that was optimised for this machine may be laid out for its instruction set alone.
    onnx.checker.check_model(onnx.load(output), full_check=True)


def _name_layers(model: Path) -> None:
    """Name each layer after its weights, as the network's own code does: features.1.block.0.0; each name once."""
    loaded = ir.load(model)
    taken = set()
    for number, node in enumerate(loaded.graph):
        if node.op_type in qdq.LAYERS and node.inputs[1].is_initializer():
            node.name = node.inputs[1].name.removesuffix("_gate").removesuffix(".weight")
        if not node.name or node.name in taken:
            # Layers may share weights, and inlined operators come without a name.
            node.name = f"{node.name or node.op_type}_{number}"
        taken.add(node.name)
    ir.save(loaded, model)


@contextmanager
def _copied(model: Path) -> Iterator[Path]:
    """A copy of a model in a folder of its own, which goes afterwards.

    ONNX Runtime's quantizer writes and removes a file beside the model that it reads; jobs that
    share a model would take it from each other.
    """
    with tempfile.TemporaryDirectory() as folder:
        yield Path(shutil.copy(model, folder))


class _OneImage(CalibrationDataReader):
    """Hands one input to the calibrator, which then merges what it saw of it."""

    def __init__(self, feed: dict[str, np.ndarray]):
        self._feeds = iter([feed])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


def calibrate(
    model: Path,
    method: str,
    inputs: Iterable[np.ndarray],
    image_paths: list[str],
    output: Path,
    *,
    narrow: bool = False,
) -> None:
    """Find the activation ranges of a prepared model and write them as JSON.

    Parameters
    ----------
    method : minmax, moving_average, percentile or entropy
    inputs : float32 [1, 3, size, size] each; one image at a time, so that histograms merge and
        only one image's activations are ever in memory
    image_paths : what the inputs were read from, for the record
    output : JSON with the digest of the model, the image list and the ranges
    narrow : leave out of a range what makes no difference to all that reads it, see `_narrowed`
    """
    kind, options = _METHODS[method]
    with _copied(model) as copy:
        calibrator = create_calibrator(
            copy, _OPERATORS, str(copy.with_name("augmented.onnx")), kind, extra_options=options
        )
        name = calibrator.infer_session.get_inputs()[0].name
        for image in inputs:
            calibrator.collect_data(_OneImage({name: image}))
        ranges = calibrator.compute_data()
    ranges = json.loads(json.dumps(ranges.to_dict(), cls=CalibrationCacheEncoder))
    # The calibrator's order is that of a set.
    ranges["data"] = dict(sorted(ranges["data"].items()))
    if narrow:
        for tensor, bounds in _narrowed(model, _bounds(ranges)).items():
            for end, bound in zip(("lowest", "highest"), bounds, strict=True):
                found = ranges["data"][tensor][end]
                if isinstance(found, dict):
                    found["data"] = np.full(np.shape(found["data"]), bound).tolist()
                else:
                    ranges["data"][tensor][end] = bound
    files.write_json(
        output,
        {
            "method": method,
            "model_sha256": files.sha256(model),
            "images": image_paths,
            "ranges": ranges,
        },
    )


def bounds(calibration: Path) -> dict[str, tuple[float, float]]:
    """The range that a calibration found for each tensor."""
    return _bounds(files.read_json(calibration)["ranges"])


def _bounds(ranges: dict) -> dict[str, tuple[float, float]]:
    def number(value) -> float:
        # Some methods leave an array, some a number.
        return float(np.ravel(value["data"] if isinstance(value, dict) else value)[0])

    return {
        name: (number(each["lowest"]), number(each["highest"]))
        for name, each in ranges["data"].items()
    }


def _narrowed(model: Path, found: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Ranges by what reads a tensor, where that takes less of it than a calibration saw, or more.

    - A tensor that only gates others and is clipped from both sides has those bounds, whatever was
      seen: a gate that closes at less than its upper bound would scale down all that passes.
    - A sigmoid within half a step of 0 or 1 is 0 or 1, so what its input does beyond is nothing.
    - x * sigmoid(x) far below 0 is within half a step of 0.

    What is left out goes to the finer steps of what matters: the inputs of a SiLU network's gates
    reach 20 and more, of which 6 count.
    """
    narrowed = {}
    for node in ir.load(model).graph:
        source, result = (
            (node.inputs[0].name, node.outputs[0].name)
            if node.inputs and node.inputs[0]
            else (None, None)
        )
        if (
            node.op_type == "Clip"
            and len(node.inputs) == 3
            and None not in node.inputs
            and all(reader.op_type == "Mul" for reader in node.outputs[0].consumers())
        ):
            narrowed[result] = tuple(float(each.const_value.numpy()) for each in node.inputs[1:])
        if source not in found or len(node.inputs[0].uses()) != 1:
            continue
        low, high = found[source]
        if node.op_type == "Sigmoid":
            narrowed[source] = tuple(np.clip((low, high), -_OPEN, _OPEN).tolist())
        elif (
            node.op_type == "QuickGelu"
            and result in found
            and node.attributes.get_float("alpha", 1.702) == 1
        ):
            half_step = (found[result][1] - found[result][0]) / 255 / 2
            # SiLU's least value is at -1.28; further down it rises to 0.
            down = np.linspace(-1.28, -20, 1000)
            floor = float(down[np.argmax(down / (1 + np.exp(-down)) >= -half_step)])
            narrowed[source] = max(low, floor), max(high, floor)
    return narrowed


def layers(model: Path) -> dict[str, list[str]]:
    """The quantizable nodes of a prepared model by layer, in order: layer -> names of nodes.

    A layer is a convolution or a matrix product with all that follows up to the next one; where
    branches meet, it is the later branch's.
    """
    graph = ir.load(model).graph
    found, owner = {}, {}
    for node in graph:
        if node.op_type in qdq.LAYERS:
            found[node.name] = []
            owner[node] = node.name
        else:
            earlier = {
                owner.get(value.producer()) for value in node.inputs if value is not None
            } - {None}
            owner[node] = next((name for name in reversed(found) if name in earlier), None)
        if owner[node]:
            found[owner[node]].append(node.name)
    return found


def quantize(
    model: Path,
    calibration: Path,
    recipe: dict,
    output: Path,
    *,
    only: list[str] | None = None,
    skip: Sequence[str] = (),
) -> None:
    """Quantize a prepared model to QDQ form with ranges found earlier.

    Parameters
    ----------
    recipe : per_channel, reduce_range, weight_type, activation_type and rewrites, as in
        config.yaml and with no `auto`
    only, skip : names of nodes to quantize, all where None, and to leave in float beside the stem
        of a rewritten graph; the model is to be run as `session_entries` says

    Raises
    ------
    UserError
        The ranges were found on another model.
    """
    ranges = files.read_json(calibration)
    if ranges["model_sha256"] != files.sha256(model):
        raise UserError(
            f"{calibration} was made from another model than {model}: remove it and run again"
        )
    if recipe["integer_rewrites"]:
        kept = [layer.name for layer in integer_rewrites.stem(ir.load(model).graph)]
        skip = [
            *skip,
            *(node for layer, nodes in layers(model).items() if layer in kept for node in nodes),
        ]
    with _copied(model) as copy:
        cache = copy.with_name("ranges.json")
        cache.write_text(json.dumps(ranges["ranges"]))
        raw = copy.with_name("raw.onnx") if recipe["integer_rewrites"] else output
        quantize_static(
            copy,
            raw,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_OPERATORS,
            nodes_to_quantize=only,
            nodes_to_exclude=[*skip, integer_rewrites.FILL_IMAGE],
            per_channel=recipe["per_channel"],
            reduce_range=recipe["reduce_range"],
            activation_type=QuantType[recipe["activation_type"]],
            weight_type=QuantType[recipe["weight_type"]],
            calibrate_method=_METHODS[ranges["method"]][0],
            calibration_cache_path=cache,
        )
        if recipe["integer_rewrites"]:
            qdq.tidy(raw, model, output)
    onnx.checker.check_model(onnx.load(output), full_check=True)


def session_entries(model: Path) -> dict[str, str]:
    """The session options that a model in QDQ form has to be run with."""
    return KEEP_FLOAT if qdq.mixes(ir.load(model).graph) else {}


def quantize_on_the_fly(model: Path, recipe: dict, output: Path) -> None:
    """ONNX Runtime's dynamic mode: each query finds the ranges of its own activations.

    Convolutions become ConvInteger. It is not a way of storing weights: every activation is
    quantized, with one range a tensor, and the search for that range costs time in every query.
    """
    with _copied(model) as copy:
        quantize_dynamic(
            copy,
            output,
            op_types_to_quantize=list(qdq.LAYERS),
            per_channel=recipe["per_channel"],
            reduce_range=recipe["reduce_range"],
            weight_type=QuantType[recipe["weight_type"]],
        )
    onnx.checker.check_model(onnx.load(output), full_check=True)


def store_weights(model: Path, output: Path) -> None:
    """Store the weights of convolutions and matrix products in INT8, a scale for each output channel.

    To be run with `FOLD_WEIGHTS`, so that the weights become floats again once, on loading, and
    every query computes as FP32 does.
    """
    loaded = ir.load(model)
    graph = loaded.graph
    for node in [node for node in graph if node.op_type in ("Conv", "Gemm")]:
        weight = node.inputs[1]
        if not weight.is_initializer() or len(weight.uses()) != 1:
            continue
        axis = 1 if node.op_type == "Gemm" and not node.attributes.get_int("transB", 0) else 0
        array = weight.const_value.numpy()
        others = tuple(each for each in range(array.ndim) if each != axis)
        scale = np.maximum(
            np.abs(array).max(axis=others, keepdims=True) / 127, np.finfo(np.float32).tiny
        )
        stored = ir.Value(
            name=f"{weight.name}_int8",
            const_value=ir.tensor(np.rint(array / scale).astype(np.int8)),
        )
        scales = ir.Value(
            name=f"{weight.name}_scale", const_value=ir.tensor(scale.ravel().astype(np.float32))
        )
        for value in (stored, scales):
            graph.register_initializer(value)
        restore = ir.node(
            "DequantizeLinear", [stored, scales], {"axis": axis}, name=f"{weight.name}_restore"
        )
        graph.insert_before(node, restore)
        node.replace_input_with(1, restore.outputs[0])
        del graph.initializers[weight.name]
    ir.save(loaded, output)
    onnx.checker.check_model(onnx.load(output), full_check=True)
