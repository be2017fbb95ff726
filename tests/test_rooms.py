"""The rooms of the package: which may import which, and where heavy libraries may be."""

import ast
import re
from pathlib import Path

import pytest
from conftest import PROJECT

PACKAGE = PROJECT / "scripts/beansweep"
# A room imports itself and those before it.
ROOMS = [
    "common",
    "data",
    "models",
    "evaluation",
    "quantization",
    "analysis",
    "benchmark",
    "report",
    "deploy",
    "settings",
]
# Library -> the rooms that may import it.
LIBRARIES = {
    "torch": {"models", "quantization"},
    "torchvision": {"models"},
    "timm": {"models"},
    "onnxruntime": {"models", "evaluation", "quantization", "benchmark", "deploy"},
    "matplotlib": {"report"},
    "plotly": {"report"},
    "snakemake": set(),
}
MODULES = sorted(PACKAGE.glob("*/*.py"))


def imports(source: Path) -> set[str]:
    """Dotted names that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}: a relative import"
            found.add(node.module)
    return found


def test_every_room_is_known():
    assert {source.parent.name for source in MODULES} == set(ROOMS)
    assert [file.name for file in PACKAGE.glob("*.py")] == ["__init__.py"]


@pytest.mark.parametrize("source", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_imports_its_own_room_and_those_before_it(source):
    room = source.parent.name
    allowed = ROOMS[: ROOMS.index(room) + 1]
    for name in imports(source):
        if name.startswith("beansweep."):
            assert name.split(".")[1] in allowed, f"{room} imports {name}"
        library = name.split(".")[0]
        assert room in LIBRARIES.get(library, {room}), f"{room} imports {library}"


def test_no_stage_imports_another_nor_snakemake():
    stages = {file.stem for file in (PROJECT / "scripts").glob("*.py")}
    for source in (PROJECT / "scripts").glob("*.py"):
        roots = {name.split(".")[0] for name in imports(source)}
        assert not roots & (stages | {"snakemake"}), source
        assert "settings" not in {
            name.split(".")[1] for name in imports(source) if name.startswith("beansweep.")
        }


def test_the_rooms_are_described_in_their_order():
    text = (PROJECT / "docs/extending.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)[: len(ROOMS)] == ROOMS
