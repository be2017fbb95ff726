"""Quantize a backbone by one variant's recipe."""

from pathlib import Path

from beansweep.common import files, processors, progress, stage
from beansweep.evaluation import agreement
from beansweep.models import model_metadata
from beansweep.quantization import quantization, search


def static(args, recipe: dict, samples: search.Samples, output: Path) -> dict:
    """Quantize with ranges found earlier; see `search.static`."""
    calibrations = {search.calibration_of(path): path for path in args.calibrations}
    choosing = len(calibrations) > 1 or recipe["bias_correction"] == "auto"
    reference = (
        agreement.on_validation(args.reference, args.root, samples.preprocessing)
        if choosing
        else None
    )
    return search.static(
        calibrations,
        recipe,
        samples,
        reference,
        output,
        lambda ways: progress.track(
            ways, f"quantize_int8: {args.metadata.parent.name} {args.metadata.stem}"
        ),
    )


def main(args) -> None:
    origin = files.read_json(args.origin)
    recipe = processors.resolve(args.settings["recipe"], args.settings["instruction_set"])
    session = {}
    with files.replacing(args.output) as temporary:
        if recipe["quantizer"] == "dynamic":
            quantization.quantize_on_the_fly(args.model, recipe, temporary)
        else:
            samples = search.Samples(
                args.model, args.calibrations[0], args.root, origin["preprocessing"]
            )
            if recipe["quantizer"] == "static":
                recipe = static(args, recipe, samples, temporary)
                session = quantization.session_entries(temporary)
            else:
                quantization.store_weights(args.model, temporary)
                search.refine(temporary, recipe, samples)
                session = quantization.FOLD_WEIGHTS
    model_metadata.write(
        args.metadata,
        args.output,
        labels=origin["labels"],
        preprocessing=origin["preprocessing"],
        session=session,
        recipe=recipe,
        instruction_set=args.settings["instruction_set"],
    )


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="prepared model")
    parser.add_argument("--origin", type=Path, required=True, help="metadata of the float model")
    parser.add_argument(
        "--calibrations", type=Path, nargs="*", default=[], help="ranges to choose from"
    )
    parser.add_argument(
        "--reference", type=Path, help="predictions of the float model, where there is a choice"
    )
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--metadata", type=Path, required=True)
    stage.run(parser, main)
