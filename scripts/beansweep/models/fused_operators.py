"""The operators that ONNX Runtime runs for a model, after its fusions on this machine."""

import tempfile
from collections import Counter
from pathlib import Path

import onnx
import onnxruntime

from beansweep.models import onnx_session


def count(model: bytes, entries: dict[str, str]) -> Counter[str]:
    """Count the operators of each type.

    Parameters
    ----------
    model : ONNX file's bytes
    entries : session configuration entries, key to value
    """
    options = onnx_session.session_options(entries, threads=1, float_kernels=False)
    with tempfile.TemporaryDirectory() as folder:
        fused = Path(folder, "fused.onnx")
        options.optimized_model_filepath = str(fused)
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return Counter(node.op_type for node in onnx.load(fused).graph.node)
