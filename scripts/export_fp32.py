"""Export a trained backbone to ONNX and check it against torch on real images."""

from pathlib import Path

import numpy as np
import onnx
import torch
from beansweep.common import errors, files, stage
from beansweep.data import images, manifest, preprocess
from beansweep.models import backbones, model_metadata, onnx_session

IMAGES = 32
# Largest difference allowed from the network as it was trained, as a share of the logits' range.
TOLERANCE = 1e-3


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
    proto = program.model_proto
    # The exporter notes the source lines, and so the paths, of this machine.
    for part in (
        proto,
        proto.graph,
        *proto.graph.node,
        *proto.graph.value_info,
        *proto.functions,
        *proto.graph.input,
        *proto.graph.output,
        *proto.graph.initializer,
    ):
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, output)


def compare(expected: np.ndarray, found: np.ndarray, step: str) -> tuple[float, float]:
    """The largest difference between logits before and after a step, and the range of those before.

    Raises
    ------
    UserError
        The difference is more than the tolerance.
    """
    difference, spread = float(np.abs(found - expected).max()), float(np.ptp(expected))
    if not difference <= TOLERANCE * spread:
        raise errors.UserError(
            f"{step} changed the outputs on real images by {difference:.2g}, more than "
            f"{TOLERANCE:g} of their range {spread:.3g}: take this backbone out of backbones"
        )
    return difference, spread


def main(args) -> None:
    torch.set_num_threads(args.threads)
    checkpoint = torch.load(args.checkpoint, map_location="cpu", weights_only=True)
    labels, preprocessing = checkpoint["labels"], checkpoint["preprocessing"]
    model = backbones.build(checkpoint["backbone"], len(labels))
    model.load_state_dict(checkpoint["model"])
    model.eval()
    sample = manifest.paths(manifest.read(args.manifest), "val", IMAGES, seed=0)
    inputs = preprocess.normalise(
        images.load(args.root, sample, preprocessing["image_size"]), preprocessing
    )
    deployed = backbones.fused(model)
    with torch.inference_mode():
        expected, fused = (each(torch.from_numpy(inputs)).numpy() for each in (model, deployed))
    compare(expected, fused, f"{args.checkpoint}: joining the branches that serve training alone")
    with files.replacing(args.model) as temporary:
        export(deployed, preprocessing["image_size"], temporary)
    metadata = {"labels": labels, "preprocessing": preprocessing, "session": {}, "recipe": {}}
    model_metadata.write(args.metadata, args.model, **metadata)
    session, _ = onnx_session.load(args.metadata)
    difference, spread = compare(
        expected, onnx_session.logits(session, inputs), f"{args.model}: export to ONNX"
    )
    model_metadata.write(
        args.metadata,
        args.model,
        **metadata,
        max_difference_from_torch=difference,
        logit_range=spread,
        compared_images=len(sample),
    )


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--metadata", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    stage.run(parser, main)
