"""The session options of ONNX Runtime that a quantized model has to be run with."""

import onnx
import onnx_ir as ir

from beansweep.quantization.onnx_graph import reads_bytes_in_float

# Where a layer in float reads what was quantized, ONNX Runtime would quantize its weights on
# loading, with one scale a tensor.
KEEP_FLOAT = {"optimization.disable_specified_optimizers": "WeightBiasQuantization"}
# ONNX Runtime then turns quantized constants into floats once, on loading, and not in every query.
FOLD_WEIGHTS = {"session.disable_quant_qdq": "1"}


def of(model: onnx.ModelProto) -> dict[str, str]:
    """Return the session options for a model in QDQ form with quantized activations."""
    return KEEP_FLOAT if reads_bytes_in_float(ir.from_proto(model).graph) else {}
