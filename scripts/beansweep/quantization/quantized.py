"""What every quantizer gives: a model, how it was made, and how it is to be run."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import onnx

from beansweep.common import files, progress
from beansweep.models import model_metadata
from beansweep.quantization import onnx_graph
from beansweep.quantization.not_applicable import NotApplicable


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
    quantize: Callable[[], Quantized],
    recipe: dict,
    model: Path,
    metadata: Path,
    origin: dict,
    instruction_set: str,
) -> None:
    """Quantize, and write the model and its metadata.

    If the network cannot have this variant, the model is an empty file, and `unavailable` in the
    metadata says why. All stages after it leave the variant out, so the backbone goes on.

    Parameters
    ----------
    quantize : gives the model, or raises NotApplicable
    recipe : what was asked for
    model, metadata : files to write
    origin : the metadata of the model that it is made from
    instruction_set : what it is for
    """
    more = {"instruction_set": instruction_set}
    session: dict[str, str] = {}
    with files.replacing(model) as temporary:
        try:
            made = quantize()
        except NotApplicable as reason:
            more["unavailable"] = str(reason)
            progress.say(f"{model.parent.name} has no {model.stem}: {reason}")
            temporary.touch()
        else:
            onnx_graph.save(made.model, temporary)
            session, recipe = made.session, made.recipe
    model_metadata.write(
        metadata,
        model,
        labels=origin["labels"],
        preprocessing=origin["preprocessing"],
        session=session,
        recipe=recipe,
        **more,
    )


def read_base(metadata: Path) -> tuple[Path, dict]:
    """Read the metadata of a variant that another one starts from, as `model_metadata.read` does.

    Raises
    ------
    NotApplicable
        The backbone cannot have the base.
    """
    reason = model_metadata.unavailable(metadata)
    if reason:
        raise NotApplicable(f"it starts from {metadata.stem}, which is not available ({reason})")
    return model_metadata.read(metadata)
