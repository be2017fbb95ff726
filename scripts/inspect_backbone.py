"""Look at a backbone before its training: what it is made of, and what cannot work."""

import json
from pathlib import Path

import torch
from beansweep.common import files, stage
from beansweep.data import manifest
from beansweep.quantization import inspection


def main(args) -> None:
    torch.set_num_threads(1)
    classes = len(manifest.labels(manifest.read(args.manifest, manifest.IMAGES)))
    found = inspection.inspect(args.settings, args.recipes, classes)
    files.write_json(args.output_inspection, found)


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--recipes", type=json.loads, required=True, help="of variants, as JSON")
    parser.add_argument("--manifest", type=Path, required=True, help="for the number of classes")
    parser.add_argument("--output-inspection", type=Path, required=True)
    stage.run(parser, main)
