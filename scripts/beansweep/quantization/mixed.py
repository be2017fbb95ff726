"""Mixed precision: the layers that quantization hurts most stay in float."""

from collections.abc import Callable
from functools import cache

import onnx
import onnx_ir as ir

from beansweep.common import progress
from beansweep.quantization import findings, gptq, onnx_graph, session_entries, static
from beansweep.quantization.quantized import Quantized
from beansweep.quantization.sources import Sources


def quantize(
    prepared: ir.Model,
    recipe: dict,
    sources: Sources,
    base: onnx.ModelProto,
    ranking: list[str],
) -> Quantized:
    """Leave the most sensitive layers in float until the accuracy drop is small enough.

    The drop is FP32's macro-F1 on validation minus the model's. The number of layers in float is
    doubled until it suffices, then halved down to the least that does.

    Parameters
    ----------
    prepared : in float
    recipe : the base's, with `max_accuracy_drop`
    sources : with the calibration of the base alone
    base : the model with every layer in INT8, which is the result where it already suffices
    ranking : names of layers, the most sensitive first

    Returns
    -------
    Its recipe has `float_layers`, `drop` and `equals_base`, and as `trials` the scores of each
    number of layers that was tried.
    """
    nodes_of = onnx_graph.layers(prepared.graph)
    found, scores = {}, {}

    @cache
    def rounding() -> gptq.Rounding | None:
        """Prepare the rounding when it is first needed: often the base suffices."""
        return static.rounding_of(prepared, recipe, sources)

    def suffices(count: int) -> bool:
        """Tell whether this many layers in float suffice; all of them always do."""
        model = base
        if count:
            float_nodes = [node for layer in ranking[:count] for node in nodes_of[layer]]
            inexact = {**recipe, "bit_exact": False}
            model = static.quantize_once(prepared, inexact, sources, rounding(), float_nodes)
        scores[count] = static.score(model, sources.validation)
        enough = count == len(ranking) or scores[count]["drop"] <= recipe["max_accuracy_drop"]
        if enough:
            # Fewer layers than the last time: the last model that suffices is the result.
            found["model"] = model
        return enough

    enough = fewest(len(ranking), suffices, sources.description)
    outcome = {
        "float_layers": ranking[:enough],
        "drop": scores[enough]["drop"],
        "equals_base": enough == 0,
        "trials": [{"float_layers": count, **figures} for count, figures in scores.items()],
    }
    if enough and recipe.get("bit_exact"):
        outcome["bit_exact"] = False
    session = session_entries.of(found["model"])
    cost = findings.cost(found["model"], session)
    return Quantized(found["model"], {**recipe, **outcome, **cost}, session)


def fewest(most: int, suffices: Callable[[int], bool], description: str) -> int:
    """Find the least number that suffices: by doubling from 1, then by halving the gap.

    Parameters
    ----------
    most : suffices
    suffices : is called once for each number that is tried
    description : for lines on the progress of the doubling
    """
    powers = [2**power for power in range(most.bit_length())]
    too_few = -1
    for count in progress.track([0, *powers, most], description):
        if suffices(count):
            enough = count
            break
        too_few = count
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if suffices(middle):
            enough = middle
        else:
            too_few = middle
    return enough
