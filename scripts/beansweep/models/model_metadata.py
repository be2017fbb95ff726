"""The metadata of a model file: labels, preprocessing, session options, recipe and digest.

It is the JSON file next to each ONNX file.
"""

from pathlib import Path

import onnxruntime

from beansweep.common import files
from beansweep.common.errors import UserError

_KEYS = {"model", "sha256", "labels", "preprocessing", "session", "recipe"}


def write(
    path: Path,
    model: Path,
    *,
    labels: list[str],
    preprocessing: dict,
    session: dict[str, str],
    recipe: dict,
    **more,
) -> None:
    """Write the metadata of a model.

    Parameters
    ----------
    path : where the metadata goes
    model : the ONNX file
    labels : class names in the order of the outputs
    preprocessing : image_size, mean and std; see `beansweep.data.preprocess`
    session : ONNX Runtime session configuration entries, key to value
    recipe : how the model was made
    more : what else is known of the model
    """
    files.write_json(
        path,
        {
            "model": model.name,
            "sha256": files.sha256(model),
            "labels": labels,
            "preprocessing": preprocessing,
            "session": session,
            "recipe": recipe,
            "onnxruntime": onnxruntime.__version__,
            **more,
        },
    )


def unavailable(metadata: Path) -> str | None:
    """Why the backbone of this metadata cannot have its variant, a sentence; None where it can."""
    return files.read_json(metadata).get("unavailable")


def same_model(metadata: Path, other: Path) -> bool:
    """Whether two models are the same file, by their metadata."""
    return files.read_json(metadata)["sha256"] == files.read_json(other)["sha256"]


def read(metadata: Path) -> tuple[Path, dict]:
    """Read the metadata of a model, and check that the model is the one that it describes.

    Returns
    -------
    The model's path, and the contents of the metadata

    Raises
    ------
    UserError
        The model is another one, or another version of the project wrote the metadata.
    """
    contents = files.read_json(metadata)
    missing = _KEYS - contents.keys()
    if missing:
        raise UserError(
            f"{metadata} has no '{min(missing)}', so another version of the project made it: "
            "remove it and run again"
        )
    model = metadata.with_name(contents["model"])
    if not model.exists() or files.sha256(model) != contents["sha256"]:
        raise UserError(
            f"{model} is not the model that {metadata} describes: remove both and run again"
        )
    return model, contents
