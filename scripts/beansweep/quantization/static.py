"""Static quantization: weights and activations in INT8, with ranges that were found beforehand."""

import itertools
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import onnx
import onnx_ir as ir
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

from beansweep.common import progress
from beansweep.evaluation.agreement import Reference
from beansweep.models import onnx_session
from beansweep.quantization import (
    bias_correction,
    bit_exact,
    calibration,
    channel_padding,
    compact,
    exact_scales,
    findings,
    float_operators,
    gptq,
    onnx_graph,
    session_entries,
    stem,
)
from beansweep.quantization.calibration import Calibration
from beansweep.quantization.not_applicable import what_onnxruntime_refuses
from beansweep.quantization.quantized import Quantized
from beansweep.quantization.sources import Sources


def quantize(prepared: ir.Model, recipe: dict, sources: Sources) -> Quantized:
    """Quantize with each calibration that a recipe names, and keep the model nearest to FP32.

    Nearest is the least Kullback-Leibler divergence on the validation images. It is paired with
    FP32 and moves with every image, so luck decides less than with agreement or macro-F1.

    Parameters
    ----------
    prepared : in float
    recipe : as in the configuration, with reduce_range and activation_type resolved.
        `bias_correction` may be `auto`: with and without

    Returns
    -------
    Its recipe has the calibration and the bias correction that were chosen, and as `trials` the
    scores of all.
    """
    rounding = rounding_of(prepared, recipe, sources)
    candidates = _candidates(recipe, sources)
    trials, nearest, best = [], None, None
    for candidate in progress.track(candidates, sources.description):
        model = quantize_once(prepared, candidate, sources, rounding)
        scores = score(model, sources.validation) if len(candidates) > 1 else {"kl": 0.0}
        chosen = {key: candidate[key] for key in ("calibration", "bias_correction")}
        trials.append({**chosen, **scores})
        if nearest is None or scores["kl"] < nearest:
            nearest, best = scores["kl"], (model, candidate)
    model, candidate = best
    session = session_entries.of(model)
    recipe = {**candidate, "trials": trials if len(trials) > 1 else []}
    recipe |= findings.of(prepared, rounding) | findings.cost(model, session)
    return Quantized(model, recipe, session)


def _candidates(recipe: dict, sources: Sources) -> list[dict]:
    """List the recipes to try: every calibration, with and without bias correction for `auto`."""
    corrections = [recipe["bias_correction"]]
    if corrections == ["auto"]:
        corrections = [False, True]
    candidates = []
    for name, corrected in itertools.product(sources.calibrations, corrections):
        candidates.append({**recipe, "calibration": name, "bias_correction": corrected})
    return candidates


def rounding_of(prepared: ir.Model, recipe: dict, sources: Sources) -> gptq.Rounding | None:
    """Prepare the rounding of weights by GPTQ, where a recipe asks for it."""
    if recipe["rounding"] != "gptq":
        return None
    rounding = gptq.Rounding(prepared, sources.inputs)
    if rounding.too_wide:
        progress.say(
            f"{sources.description}: {', '.join(rounding.too_wide)} read too much for GPTQ and are "
            "rounded to the nearest step"
        )
    return rounding


def score(model: onnx.ModelProto, reference: Reference) -> dict:
    """Score a quantized model on the validation images."""
    session = onnx_session.create(
        model.SerializeToString(),
        session_entries.of(model),
        float_kernels=reference.float_kernels,
    )
    return reference.score(session)


def quantize_once(
    prepared: ir.Model,
    recipe: dict,
    sources: Sources,
    rounding: gptq.Rounding | None,
    float_nodes: Sequence[str] = (),
) -> onnx.ModelProto:
    """Quantize with one calibration, step by step.

    Parameters
    ----------
    recipe : with one calibration, and with nothing left open
    rounding : made by `rounding_of`
    float_nodes : names of nodes to leave in float, besides the stem and the `float_operators` of a
        rewritten graph

    Returns
    -------
    A model in QDQ form, to be run with the session options of `session_entries`.
    """
    ranges, in_float = sources.calibrations[recipe["calibration"]], []
    if recipe["integer_rewrites"]:
        in_float = float_operators.of(prepared.graph)
        grouped = float_operators.grouped_layers(prepared.graph)
        first = _stem_nodes(prepared.graph)
        if recipe.get("bit_exact"):
            first = bit_exact.float_nodes(prepared.graph)
        float_nodes = [*float_nodes, *first, *grouped, *in_float]
    proto = quantize_with_onnxruntime(prepared, ranges, recipe, float_nodes)
    if not (recipe["integer_rewrites"] or rounding or recipe["bias_correction"]):
        return proto
    quantized = onnx_graph.from_proto(proto)
    if recipe["integer_rewrites"]:
        float_operators.read_unrounded(quantized.graph, in_float)
        compact.fold_scalings(quantized)
        exact_scales.choose(quantized.graph, prepared.graph)
        compact.store_float_biases(quantized)
        compact.remove_unused(quantized)
        compact.shorten_names(quantized)
    if rounding:
        rounding.apply(quantized)
    if recipe["bias_correction"]:
        bias_correction.correct(prepared, quantized, sources.inputs[: bias_correction.IMAGES])
    if recipe.get("bit_exact"):
        bit_exact.make(quantized.graph, sources.preprocessing)
    return ir.to_proto(quantized)


def _stem_nodes(graph: ir.Graph) -> list[str]:
    """Name the nodes of the layers that stay in float in a rewritten graph."""
    layers = onnx_graph.layers(graph)
    names = []
    for layer in stem.of(graph):
        names += layers[layer.name]
    return names


def quantize_with_onnxruntime(
    prepared: ir.Model,
    ranges: Calibration,
    recipe: dict,
    float_nodes: Sequence[str],
) -> onnx.ModelProto:
    """Quantize with ONNX Runtime's own quantizer.

    Parameters
    ----------
    recipe : per_channel, reduce_range, weight_type and activation_type, as in the configuration
    float_nodes : names of nodes to leave in float

    Raises
    ------
    NotApplicable
        It does not serve the network.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, cache = Path(folder, "prepared.onnx"), Path(folder, "ranges.json")
        output = Path(folder, "quantized.onnx")
        ir.save(prepared, source)
        cache.write_text(json.dumps(ranges.ranges))
        with what_onnxruntime_refuses():
            quantize_static(
                source,
                output,
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=calibration.OPERATORS,
                nodes_to_exclude=[*float_nodes, channel_padding.PAD_IMAGE],
                per_channel=recipe["per_channel"],
                reduce_range=recipe["reduce_range"],
                activation_type=QuantType[recipe["activation_type"]],
                weight_type=QuantType[recipe["weight_type"]],
                calibrate_method=calibration.METHODS[ranges.method][0],
                calibration_cache_path=cache,
            )
        return onnx.load(output)
