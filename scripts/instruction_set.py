"""Find out which instruction set the INT8 variants are for: that of this machine."""

from pathlib import Path

from beansweep.common import files, processors, stage


def main(args) -> None:
    files.write_json(args.output_instruction_set, {"instruction_set": processors.detect()})


if __name__ == "__main__":
    parser = stage.parser(__doc__)
    parser.add_argument("--output-instruction-set", type=Path, required=True)
    stage.run(parser, main)
