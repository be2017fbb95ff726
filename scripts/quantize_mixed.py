"""Give back to float the layers of a quantized backbone that cost it too much accuracy."""

from pathlib import Path

import pandas as pd
from beansweep import fidelity, files, quantization, runtime, search, stage


def main(args) -> None:
    base, card = runtime.described(args.base_card)
    recipe, preprocessing = card["recipe"], card["preprocessing"]
    calibration = next(path for path in args.calibrations if search.calibration_of(path) == recipe["calibration"])
    samples = search.Samples(args.model, calibration, args.root, preprocessing)
    reference = fidelity.on_validation(args.reference, args.root, preprocessing)
    with files.replacing(args.output) as temporary:
        outcome = search.mixed(
            recipe, samples, reference, args.settings["max_loss"], pd.read_csv(args.sensitivity)["layer"].tolist(),
            base, temporary,
            lambda counts: stage.progress(counts, f"quantize_mixed: {args.card.parent.name} {args.card.stem}"))
        session = quantization.session_entries(temporary)
    runtime.write_card(args.card, args.output, labels=card["labels"], preprocessing=preprocessing,
                       session=session, recipe={**recipe, **args.settings, **outcome},
                       instruction_set=card["instruction_set"])


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="prepared model")
    parser.add_argument("--base-card", type=Path, required=True, help="of the model with every layer in INT8")
    parser.add_argument("--sensitivity", type=Path, required=True)
    parser.add_argument("--calibrations", type=Path, nargs="+", required=True)
    parser.add_argument("--reference", type=Path, required=True, help="predictions of the float model")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--card", type=Path, required=True)
    stage.run(parser, main)
