"""Dynamic quantization: each query finds the ranges of its own activations."""

import tempfile
from pathlib import Path

import onnx
import onnx_ir as ir
from onnxruntime.quantization import QuantType, quantize_dynamic

from beansweep.quantization.not_applicable import what_onnxruntime_refuses
from beansweep.quantization.onnx_graph import LAYERS
from beansweep.quantization.quantized import Quantized
from beansweep.quantization.sources import Sources


def quantize(prepared: ir.Model, recipe: dict, sources: Sources) -> Quantized:
    """Quantize with ONNX Runtime's dynamic mode.

    Convolutions become ConvInteger. It is not a way of storing weights: every activation is
    quantized, with one range a tensor, and the search for that range costs time in every query.

    Parameters
    ----------
    prepared : in float
    recipe : per_channel, reduce_range and weight_type, as in the configuration
    sources : not used

    Raises
    ------
    NotApplicable
        It does not serve the network.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder, "prepared.onnx"), Path(folder, "quantized.onnx")
        ir.save(prepared, source)
        with what_onnxruntime_refuses():
            quantize_dynamic(
                source,
                output,
                op_types_to_quantize=list(LAYERS),
                per_channel=recipe["per_channel"],
                reduce_range=recipe["reduce_range"],
                weight_type=QuantType[recipe["weight_type"]],
            )
        return Quantized(onnx.load(output), recipe, session={})
