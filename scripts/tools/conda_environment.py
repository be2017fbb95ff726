"""Write envs/environment.yaml: the pinned packages of envs/requirements.txt, for conda.

    python scripts/tools/conda_environment.py

Snakemake makes the environment from a copy of that file alone, so it cannot refer to another file.
"""

from pathlib import Path

_ENVIRONMENTS = Path(__file__).resolve().parents[2] / "envs"
REQUIREMENTS = _ENVIRONMENTS / "requirements.txt"
ENVIRONMENT = _ENVIRONMENTS / "environment.yaml"
_HEADER = """\
# For `snakemake --software-deployment-method conda`: the same pinned packages, through pip.
# Written by make lock.
name: beansweep
channels: [conda-forge, nodefaults]
dependencies:
  - python=3.11
  - pip
  - pip:
"""


def pins(requirements: str) -> list[str]:
    """Packages with their versions and markers, without their hashes."""
    found = []
    for line in requirements.splitlines():
        if line and not line.startswith((" ", "#")):
            found.append(line.removesuffix("\\").rstrip())
    return found


def environment(requirements: str) -> str:
    """The text of envs/environment.yaml.

    Parameters
    ----------
    requirements : the text of envs/requirements.txt
    """
    lines = [f"      - {pin}\n" for pin in pins(requirements)]
    return _HEADER + "".join(lines)


if __name__ == "__main__":
    ENVIRONMENT.write_text(environment(REQUIREMENTS.read_text()))
