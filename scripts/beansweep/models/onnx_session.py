"""The one way to run a model file: its metadata says what it needs, and `load` applies it.

A model that is run without its metadata may be slow or wrong.
"""

from pathlib import Path

import numpy as np
import onnxruntime

from beansweep.common.errors import UserError
from beansweep.models import model_metadata

# Errors alone.
onnxruntime.set_default_logger_severity(3)


def load(
    metadata: Path, *, threads: int = 1, float_kernels: bool = False
) -> tuple[onnxruntime.InferenceSession, dict]:
    """Open a model with the options that its metadata has.

    Parameters
    ----------
    metadata : the JSON file next to the model
    threads : intra-op threads
    float_kernels : leave every QuantizeLinear and DequantizeLinear around float kernels, instead
        of fusing them into integer kernels; this tells an error of quantization from an error of
        kernels

    Returns
    -------
    The session, and the contents of the metadata

    Raises
    ------
    UserError
        The model is not the one that the metadata describes.
    """
    model, contents = model_metadata.read(metadata)
    session = create(model, contents["session"], threads=threads, float_kernels=float_kernels)
    return session, contents


def create(
    model: Path | bytes,
    entries: dict[str, str] | None = None,
    *,
    threads: int = 1,
    float_kernels: bool = False,
) -> onnxruntime.InferenceSession:
    """Open a model that has no metadata yet; a model that has goes through `load`.

    Parameters
    ----------
    model : ONNX file, or its bytes
    entries : session configuration entries, key to value
    threads, float_kernels : as for `load`

    Raises
    ------
    UserError
        This ONNX Runtime has no kernels for processors.
    """
    providers = onnxruntime.get_available_providers()
    if "CPUExecutionProvider" not in providers:
        raise UserError(
            f"this onnxruntime has no CPUExecutionProvider, only {', '.join(providers)}: "
            "install the one of envs/requirements.txt"
        )
    options = session_options(entries, threads, float_kernels)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def session_options(
    entries: dict[str, str] | None, threads: int, float_kernels: bool
) -> onnxruntime.SessionOptions:
    """The options of `create`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    entries = dict(entries or {})
    if float_kernels:
        # All optimisations but the fusions into integer kernels, so that layers in float run in
        # the same kernels both ways; without any, their last bits would count as an error too.
        entries["session.disable_quant_qdq"] = "1"
        # Operators that are integer in the graph itself get the kernels that cannot saturate.
        entries["session.x64quantprecision"] = "1"
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    return options


def logits(session: onnxruntime.InferenceSession, inputs: np.ndarray) -> np.ndarray:
    """Run a classifier: float32 [n, 3, size, size] -> float32 [n, classes]."""
    return session.run(None, {session.get_inputs()[0].name: inputs})[0]
