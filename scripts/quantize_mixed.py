"""Give back to float the layers of a quantized backbone that cost it too much accuracy."""

from pathlib import Path

import pandas as pd
from beansweep.common import files, progress, stage
from beansweep.evaluation import agreement
from beansweep.models import model_metadata
from beansweep.quantization import quantization, search


def main(args) -> None:
    base, metadata = model_metadata.read(args.base_metadata)
    recipe, preprocessing = metadata["recipe"], metadata["preprocessing"]
    calibration = next(
        path for path in args.calibrations if search.calibration_of(path) == recipe["calibration"]
    )
    samples = search.Samples(args.model, calibration, args.root, preprocessing)
    reference = agreement.on_validation(args.reference, args.root, preprocessing)
    with files.replacing(args.output) as temporary:
        outcome = search.mixed(
            recipe,
            samples,
            reference,
            args.settings["max_accuracy_drop"],
            pd.read_csv(args.sensitivity)["layer"].tolist(),
            base,
            temporary,
            lambda counts: progress.track(
                counts, f"quantize_mixed: {args.metadata.parent.name} {args.metadata.stem}"
            ),
        )
        session = quantization.session_entries(temporary)
    model_metadata.write(
        args.metadata,
        args.output,
        labels=metadata["labels"],
        preprocessing=preprocessing,
        session=session,
        recipe={**recipe, **args.settings, **outcome},
        instruction_set=metadata["instruction_set"],
    )


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="prepared model")
    parser.add_argument(
        "--base-metadata", type=Path, required=True, help="of the model with every layer in INT8"
    )
    parser.add_argument("--sensitivity", type=Path, required=True)
    parser.add_argument("--calibrations", type=Path, nargs="+", required=True)
    parser.add_argument(
        "--reference", type=Path, required=True, help="predictions of the float model"
    )
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--metadata", type=Path, required=True)
    stage.run(parser, main)
