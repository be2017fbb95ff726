"""What every quantizer gives: a model, how it was made, and how it is to be run."""

from pathlib import Path
from typing import NamedTuple

import onnx

from beansweep.common import files
from beansweep.models import model_metadata
from beansweep.quantization import onnx_graph


class Quantized(NamedTuple):
    """A quantized model.

    Attributes
    ----------
    model : to be written as it is
    recipe : how it was made, with every choice that was left open
    session : the session options of ONNX Runtime that it has to be run with
    """

    model: onnx.ModelProto
    recipe: dict
    session: dict[str, str]


def write(
    quantized: Quantized, model: Path, metadata: Path, origin: dict, instruction_set: str
) -> None:
    """Write a quantized model and its metadata.

    Parameters
    ----------
    model, metadata : files to write
    origin : the metadata of the model that it was made from
    instruction_set : what it is for
    """
    with files.replacing(model) as temporary:
        onnx_graph.save(quantized.model, temporary)
    model_metadata.write(
        metadata,
        model,
        labels=origin["labels"],
        preprocessing=origin["preprocessing"],
        session=quantized.session,
        recipe=quantized.recipe,
        instruction_set=instruction_set,
    )
