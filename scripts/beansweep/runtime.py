"""The one way that a model file is run: its card says what it needs, and `load` applies it.

A card is the JSON file beside each ONNX file: labels, preprocessing, session options, recipe,
and the digest of the model it describes. A model run without its card may be slow or wrong.
"""

from pathlib import Path

import numpy as np
import onnxruntime

from beansweep import files
from beansweep.stage import UserError

onnxruntime.set_default_logger_severity(3)


def write_card(path: Path, model: Path, *, labels: list[str], preprocessing: dict, session: dict[str, str],
               recipe: dict, **more) -> None:
    """Write the card of `model`.

    Parameters
    ----------
    labels : class names in the order of the outputs
    preprocessing : image_size, mean and std; see `beansweep.preprocess`
    session : ONNX Runtime session configuration entries, key to value
    recipe : how the model was made
    """
    files.write_json(path, {
        "model": model.name, "sha256": files.sha256(model), "labels": labels, "preprocessing": preprocessing,
        "session": session, "recipe": recipe, "onnxruntime": onnxruntime.__version__, **more,
    })


def load(card: Path, *, threads: int = 1, float_kernels: bool = False) -> tuple[onnxruntime.InferenceSession, dict]:
    """Open a model as its card says.

    Parameters
    ----------
    card : the JSON file beside the model
    threads : intra-op threads
    float_kernels : leave every QuantizeLinear and DequantizeLinear around float kernels, instead
        of fusing them into integer kernels; this is what tells an error of quantization from an
        error of kernels

    Returns
    -------
    The session, and the card's contents.

    Raises
    ------
    UserError
        The model is not the one that the card was written for.
    """
    model, contents = described(card)
    return session(model, contents["session"], threads=threads, float_kernels=float_kernels), contents


def described(card: Path) -> tuple[Path, dict]:
    """The model that a card describes, and the card's contents.

    Raises
    ------
    UserError
        The model is not the one that the card was written for, or the card is of another version of
        the project.
    """
    contents = files.read_json(card)
    missing = {"model", "sha256", "labels", "preprocessing", "session", "recipe"} - contents.keys()
    if missing:
        raise UserError(f"{card} has no '{min(missing)}', so another version of the project made it: remove it and run "
                        "again")
    model = card.with_name(contents["model"])
    if not model.exists() or files.sha256(model) != contents["sha256"]:
        raise UserError(f"{model} is not the model that {card} describes: remove both and run again")
    return model, contents


def session(model: Path | bytes, entries: dict[str, str] | None = None, *, threads: int = 1,
            float_kernels: bool = False) -> onnxruntime.InferenceSession:
    """Open a model that has no card yet; everything that has one goes through `load`.

    Raises
    ------
    UserError
        This ONNX Runtime has no kernels for processors.
    """
    if "CPUExecutionProvider" not in onnxruntime.get_available_providers():
        raise UserError("this onnxruntime has no CPUExecutionProvider, only "
                        f"{', '.join(onnxruntime.get_available_providers())}: install the one of envs/requirements.txt")
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
