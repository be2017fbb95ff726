"""Export of a trained network to ONNX, checked against torch on real images."""

from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import torch

from beansweep.common import files
from beansweep.common.errors import UserError
from beansweep.data import manifest, pixels
from beansweep.models import backbones, checkpoints, model_metadata, onnx_session, onnx_versions

# Validation images that the outputs are compared on.
IMAGES = 32
# Largest difference from the network as it was trained, as a share of the logits' range.
TOLERANCE = 1e-3


def export_checkpoint(
    checkpoint: Path,
    rows: pd.DataFrame,
    images: pixels.Images,
    output_model: Path,
    output_metadata: Path,
) -> None:
    """Export a checkpoint to ONNX with its metadata, and check each step on validation images.

    Parameters
    ----------
    checkpoint : as training wrote it
    rows : the manifest
    images : of the manifest
    output_model, output_metadata : the ONNX file and its JSON file

    Raises
    ------
    UserError
        A step changed the network's outputs by more than the tolerance.
    """
    model, labels, preprocessing = checkpoints.read(checkpoint)
    image_size = preprocessing["image_size"]
    paths = manifest.paths(rows, "val", IMAGES, seed=0)
    inputs = pixels.network_inputs(images, paths, preprocessing)
    deployed = backbones.fused(model)
    expected, fused = _torch_logits(model, inputs), _torch_logits(deployed, inputs)
    compare(expected, fused, f"{checkpoint}: merging the branches that only training needs")
    with files.replacing(output_model) as temporary:
        export(deployed, image_size, temporary)
    exported = onnx_session.logits(onnx_session.create(output_model), inputs)
    difference, spread = compare(expected, exported, f"{output_model}: export to ONNX")
    model_metadata.write(
        output_metadata,
        output_model,
        labels=labels,
        preprocessing=preprocessing,
        session={},
        recipe={},
        max_difference_from_torch=difference,
        logit_range=spread,
        compared_images=len(paths),
    )


def export_checked(model: torch.nn.Module, inputs: np.ndarray, path: Path, step: str) -> None:
    """Export a network for inference, and check that the ONNX file computes the same.

    Parameters
    ----------
    inputs : float32 [n, 3, size, size]
    path : of the ONNX file
    step : what the error message begins with

    Raises
    ------
    UserError
        The outputs differ by more than the tolerance.
    """
    export(backbones.fused(model), inputs.shape[-1], path)
    found = onnx_session.logits(onnx_session.create(path), inputs)
    compare(_torch_logits(model, inputs), found, step)


def _torch_logits(model: torch.nn.Module, inputs: np.ndarray) -> np.ndarray:
    """Logits of a network in torch: float32 [n, 3, size, size] -> float32 [n, classes]."""
    with torch.inference_mode():
        return model(torch.from_numpy(inputs)).numpy()


def export(model: torch.nn.Module, image_size: int, output: Path) -> None:
    """Write a network as ONNX with a dynamic batch: input `image`, output `logits`."""
    # Two images: the exporter takes a batch of one for a constant.
    example = torch.zeros(2, 3, image_size, image_size)
    program = torch.onnx.export(
        model,
        (example,),
        dynamo=True,
        external_data=False,
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )
    assert program is not None  # It is None for the older exporter alone.
    model_proto = program.model_proto
    _remove_notes(model_proto)
    onnx_versions.lower(model_proto)
    onnx.checker.check_model(model_proto, full_check=True)
    onnx.save(model_proto, output)


def _remove_notes(model_proto: onnx.ModelProto) -> None:
    """Remove the exporter's notes: they hold source lines, and so paths, of this machine."""
    graph = model_proto.graph
    for part in (
        model_proto,
        graph,
        *graph.node,
        *graph.value_info,
        *model_proto.functions,
        *graph.input,
        *graph.output,
        *graph.initializer,
    ):
        del part.metadata_props[:]
        part.doc_string = ""


def compare(expected: np.ndarray, found: np.ndarray, step: str) -> tuple[float, float]:
    """Compare logits [n, classes] before and after a step.

    Parameters
    ----------
    expected, found : logits before and after
    step : what the error message begins with

    Returns
    -------
    The largest difference, and the range of the logits before

    Raises
    ------
    UserError
        The difference is more than the tolerance.
    """
    difference, spread = float(np.abs(found - expected).max()), float(np.ptp(expected))
    # Written so that a difference that is not a number is refused too.
    if not difference <= TOLERANCE * spread:
        raise UserError(
            f"{step} changed the outputs on real images by {difference:.2g}, more than "
            f"{TOLERANCE:g} of their range {spread:.3g}: remove this backbone from backbones"
        )
    return difference, spread
