"""The metadata of a model file: labels, preprocessing, session options, recipe and digest."""

from pathlib import Path

import onnxruntime

from beansweep.common import files
from beansweep.common.errors import UserError


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
    """Write the metadata of `model`.

    Parameters
    ----------
    labels : class names in the order of the outputs
    preprocessing : image_size, mean and std; see `beansweep.preprocess`
    session : ONNX Runtime session configuration entries, key to value
    recipe : how the model was made
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


def read(metadata: Path) -> tuple[Path, dict]:
    """The model that a metadata describes, and the metadata's contents.

    Raises
    ------
    UserError
        The model is not the one that the metadata was written for, or the metadata is of another version of
        the project.
    """
    contents = files.read_json(metadata)
    missing = {"model", "sha256", "labels", "preprocessing", "session", "recipe"} - contents.keys()
    if missing:
        raise UserError(
            f"{metadata} has no '{min(missing)}', so another version of the project made it: remove it and run "
            "again"
        )
    model = metadata.with_name(contents["model"])
    if not model.exists() or files.sha256(model) != contents["sha256"]:
        raise UserError(
            f"{model} is not the model that {metadata} describes: remove both and run again"
        )
    return model, contents
