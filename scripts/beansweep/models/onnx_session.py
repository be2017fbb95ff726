"""The one way that a model file is run: its metadata says what it needs, and `load` applies it.

A metadata is the JSON file beside each ONNX file: labels, preprocessing, session options, recipe,
and the digest of the model it describes. A model run without its metadata may be slow or wrong.
"""

from pathlib import Path

import numpy as np
import onnxruntime

from beansweep.common.errors import UserError
from beansweep.models import model_metadata

onnxruntime.set_default_logger_severity(3)


def load(
    metadata: Path, *, threads: int = 1, float_kernels: bool = False
) -> tuple[onnxruntime.InferenceSession, dict]:
    """Open a model as its metadata says.

    Parameters
    ----------
    metadata : the JSON file beside the model
    threads : intra-op threads
    float_kernels : leave every QuantizeLinear and DequantizeLinear around float kernels, instead
        of fusing them into integer kernels; this is what tells an error of quantization from an
        error of kernels

    Returns
    -------
    The session, and the metadata's contents.

    Raises
    ------
    UserError
        The model is not the one that the metadata was written for.
    """
    model, contents = model_metadata.read(metadata)
    return create(
        model, contents["session"], threads=threads, float_kernels=float_kernels
    ), contents


def create(
    model: Path | bytes,
    entries: dict[str, str] | None = None,
    *,
    threads: int = 1,
    float_kernels: bool = False,
) -> onnxruntime.InferenceSession:
    """Open a model that has no metadata yet; everything that has goes through `load`.

    Raises
    ------
    UserError
        This ONNX Runtime has no kernels for processors.
    """
    if "CPUExecutionProvider" not in onnxruntime.get_available_providers():
        raise UserError(
            "this onnxruntime has no CPUExecutionProvider, only "
            f"{', '.join(onnxruntime.get_available_providers())}: install the one of envs/requirements.txt"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    entries = dict(entries or {})
    if float_kernels:
        # Everything but the fusions into integer kernels, so that layers in float run in the same
        # kernels both ways; without any optimisation their last bits would count as an error too.
        entries["session.disable_quant_qdq"] = "1"
        # Operators that are integer in the graph itself: the kernels that cannot saturate.
        entries["session.x64quantprecision"] = "1"
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def logits(session: onnxruntime.InferenceSession, inputs: np.ndarray) -> np.ndarray:
    """Run a classifier: float32 [n, 3, size, size] -> float32 [n, classes]."""
    return session.run(None, {session.get_inputs()[0].name: inputs})[0]
