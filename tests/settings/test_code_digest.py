"""The digest of a stage's code changes with what can change a result, and with nothing else."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from beansweep.settings import code_digest
from conftest import PROJECT

SCRIPTS = PROJECT / "scripts"
STAGES = sorted(SCRIPTS.glob("*.py"))
# A small package with two rooms and a room in a room.
MODULES = {
    "beansweep/__init__.py": "",
    "beansweep/beans/__init__.py": "",
    "beansweep/beans/colour.py": "def red():\n    return 1\n",
    "beansweep/beans/shape.py": "def round():\n    return 1\n",
    "beansweep/tools/__init__.py": "",
    "beansweep/tools/deep/__init__.py": "",
    "beansweep/tools/deep/knife.py": "def cut():\n    return 1\n",
    "beansweep/tools/scale.py": "def weigh():\n    return 1\n",
    "beansweep/common/__init__.py": "",
    "beansweep/common/progress.py": "def say():\n    pass\n",
}
EDIT = "\n_EDITED = True\n"


@pytest.fixture
def project(tmp_path):
    """A function that writes a small project, with some files of it replaced; returns its script.

    The script, unless it is replaced, imports `beansweep.beans.shape`.
    """

    def write(**replaced: str) -> Path:
        files = {**MODULES, "stage.py": "from beansweep.beans import shape\n"}
        for name, text in replaced.items():
            files[name.replace("__", "/") + ".py"] = text
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path / "stage.py"

    return write


def digest(script: Path) -> str:
    """A digest of the files as they are now."""
    for function in vars(code_digest).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()
    return code_digest.of_script(script)


def counts(script: Path, module: str) -> bool:
    """Whether an edit of a module changes a script's digest."""
    before = digest(script)
    with open(script.parent / module, "a") as file:
        file.write(EDIT)
    return digest(script) != before


@pytest.mark.parametrize(
    "text",
    [
        "def round():\n    return 1  # A comment.\n",
        'def round():\n    """A docstring."""\n    return 1\n',
        '"""A docstring."""\n\n\ndef round():\n\n    return (1)\n',
    ],
    ids=["a comment", "a function's docstring", "the module's docstring and spaces"],
)
def test_comments_docstrings_and_spaces_do_not_count(project, text):
    before = digest(project())
    assert digest(project(beansweep__beans__shape=text)) == before


def test_the_docstring_of_a_class_does_not_count_and_other_text_does(project):
    bare, told, other = (
        digest(project(beansweep__beans__shape=f"class Round:\n    {body}"))
        for body in ("size = 1\n", '"""A bean."""\n    size = 1\n', 'size = 1\n    "text"\n')
    )
    assert bare == told
    assert bare != other


@pytest.mark.parametrize(
    "text",
    [
        "def round():\n    return 2\n",
        "def round():\n    return 1.0\n",
        "def round(size=None):\n    return 1\n",
        "async def round():\n    return 1\n",
        "def round():\n    return 1\n\n\nLIMIT = 1\n",
    ],
)
def test_a_statement_counts(project, text):
    before = digest(project())
    assert digest(project(beansweep__beans__shape=text)) != before


def test_a_file_that_is_renamed_counts(project):
    before = digest(project(stage="from beansweep.beans import shape\n"))
    text = MODULES["beansweep/beans/shape.py"]
    after = digest(project(stage="from beansweep.beans import form\n", beansweep__beans__form=text))
    assert before != after


IMPORTS = {
    "import beansweep.beans.colour": "beansweep/beans/colour.py",
    "import beansweep.beans.colour as hue": "beansweep/beans/colour.py",
    "from beansweep.beans import colour": "beansweep/beans/colour.py",
    "from beansweep.beans import colour as hue": "beansweep/beans/colour.py",
    "from beansweep.beans import shape, colour": "beansweep/beans/colour.py",
    "from beansweep.beans.colour import red": "beansweep/beans/colour.py",
    "from . import colour": "beansweep/beans/colour.py",
    "from .colour import red": "beansweep/beans/colour.py",
    "from ..tools import scale": "beansweep/tools/scale.py",
    "from ..tools.scale import weigh": "beansweep/tools/scale.py",
    "import beansweep.tools.deep.knife": "beansweep/tools/deep/knife.py",
    "from beansweep.tools.deep import knife": "beansweep/tools/deep/knife.py",
    "from ..tools.deep.knife import cut": "beansweep/tools/deep/knife.py",
    "def later():\n    from beansweep.beans import colour": "beansweep/beans/colour.py",
    "def later():\n    import beansweep.tools.scale": "beansweep/tools/scale.py",
    "try:\n    from .colour import red\nexcept ImportError:\n    pass": "beansweep/beans/colour.py",
}


@pytest.mark.parametrize("statement", IMPORTS)
def test_a_module_counts_however_it_is_imported(project, statement):
    text = f"{statement}\n\n\ndef round():\n    return 1\n"
    assert counts(project(beansweep__beans__shape=text), IMPORTS[statement])


def test_the_folders_of_an_imported_module_count(project):
    assert counts(project(), "beansweep/beans/__init__.py")
    script = project(stage="from beansweep.tools.deep import knife\n")
    assert counts(script, "beansweep/tools/__init__.py")


def test_a_module_that_nothing_imports_does_not_count(project):
    assert not counts(project(), "beansweep/beans/colour.py")
    assert not counts(project(), "beansweep/tools/scale.py")


def test_modules_that_import_one_another_are_followed_once(project):
    script = project(
        beansweep__beans__shape="from beansweep.beans import colour\n",
        beansweep__beans__colour="from beansweep.beans import shape\n",
    )
    assert counts(script, "beansweep/beans/colour.py")


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("import beansweep", "beansweep is no module and not in one: import each module by its"),
        ("from beansweep import beans", "beansweep.beans is no module and not in one"),
        ("import beansweep.nowhere.colour", "beansweep.nowhere.colour is no module"),
        ("from beansweep.beans.colour import *", r"`import \*` hides what is imported: name it"),
        ("import importlib; importlib.import_module(NAME)", "does not follow import_module"),
        ("from importlib import import_module as load", "does not follow import_module"),
        ("import inspect; inspect.getsource(beansweep)", "does not follow getsource"),
        ("import runpy; runpy.run_path(NAME)", "does not follow run_path"),
        ("__import__(NAME)", "does not follow __import__"),
        ("exec(TEXT)", "does not follow exec"),
        ("PATH = __file__", "nothing else of __file__"),
        ("PATH = Path(__file__).resolve()", "nothing else of __file__"),
        ("PATH = Path(__file__).with_name(NAME)", "nothing else of __file__"),
        ("PATH = Path(__file__).with_name('none.html')", "is not a file of the project"),
        ("PATH = Path(__file__).parent", "is not a file of the project"),
        ("from ....beans import colour", "a relative import leads out of beansweep"),
    ],
)
def test_what_cannot_be_followed_stops_with_its_file_and_line(project, statement, words):
    script = project(beansweep__beans__shape=f"SIZE = 1\n{statement}\n")
    with pytest.raises(code_digest.Untraceable, match=words) as caught:
        digest(script)
    assert str(caught.value).startswith(f"{script.parent}/beansweep/beans/shape.py, line 2: ")
    assert "\n" not in str(caught.value)


def test_a_method_named_eval_is_no_evaluation(project):
    before = digest(project())
    assert (
        digest(project(beansweep__beans__shape="def round(model):\n    model.eval()\n")) != before
    )


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ('Path(__file__).with_name("page.html")', "beansweep/beans/page.html"),
        ('Path(__file__).parent / "page.html"', "beansweep/beans/page.html"),
        ('Path(__file__).parent.with_name("tools") / "page.html"', "beansweep/tools/page.html"),
        (
            'Path(__file__).parent.parent / "tools" / "deep" / "knife.py"',
            "beansweep/tools/deep/knife.py",
        ),
    ],
)
def test_a_file_that_a_module_reads_counts_to_the_byte(project, tmp_path, path, name):
    text = f"from pathlib import Path\n\nTEXT = ({path}).read_text()\n"
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text("# text\n")
    script = project(beansweep__beans__shape=text)
    before = digest(script)
    with open(tmp_path / name, "a") as file:
        file.write("# a comment\n")
    assert digest(script) != before


def test_modules_that_decide_nothing_do_not_count(project):
    script = project(stage="from beansweep.common import progress\n")
    assert not counts(script, "beansweep/common/progress.py")
    # A module of the same name in another room does.
    script = project(
        stage="from beansweep.beans import progress\n", beansweep__beans__progress="SIZE = 1\n"
    )
    assert counts(script, "beansweep/beans/progress.py")


def test_every_module_that_decides_nothing_exists():
    for name in code_digest.DECIDES_NOTHING:
        assert (SCRIPTS / name).is_file()


# Syntax that the versions' parsers treat in different ways.
ODD_SYNTAX = r"""
def tell(name, /, width=8, *, digits: int = 2, **options):
    "Docstring."
    yield f"{name!r:>{width}} {width:.{digits}f} {width=} {{}} {name:}" "next" f"{digits}\n"
    yield u"a" + "\u2603 é" * 2 + rf"\d{digits}"
    match options:
        case {"a": [1, *rest], **other} if (total := len(rest)) > 1:
            yield lambda x, y=1: -(x**2) + 1j + 1e300 + total
        case str() | None:
            yield [*rest, ...][1:2, ::3]
    try:
        yield {**options}
    except* ValueError as error:
        raise KeyError from error


class Bean(object, metaclass=type):
    size: int

    async def wait(self):
        async with self as a, self as b:
            return [x async for x in a if x]
"""
DIGESTS = (
    "import json, sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
    "import code_digest\n"
    "print(json.dumps([code_digest.of_script(Path(path)) for path in sys.argv[2:]]))"
)


def interpreter(version: str) -> Path | None:
    """A Python of a version on this machine, without packages: on PATH, or pyenv's."""
    candidates = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    found = shutil.which(f"python{version}")
    if found:
        candidates.append(Path(found))
    for candidate in candidates:
        shown = subprocess.run([candidate, "-I", "--version"], capture_output=True, text=True)
        if shown.stdout.startswith(f"Python {version}."):
            return candidate
    return None


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_every_version_of_python_gives_the_same_digests(project, version):
    if sys.version.startswith(f"{version}."):
        pytest.skip(f"Python {version} runs this test; the others are compared with it")
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version} on PATH or in ~/.pyenv/versions")
    scripts = [*STAGES, project(beansweep__beans__shape=ODD_SYNTAX)]
    folder = Path(code_digest.__file__).parent
    result = subprocess.run(
        [python, "-I", "-c", DIGESTS, folder, *scripts], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == [digest(script) for script in scripts]


# Stage -> modules that decide its result, and modules that do not.
DEPENDS = {
    "generate": (["data/rendered_beans"], ["data/image_folders", "models/backbones"]),
    "dataset": (["data/near_duplicates", "data/splitting"], ["models/training"]),
    "decode": (["data/pixels", "data/images", "data/preprocess"], ["data/near_duplicates"]),
    "inspect_backbone": (
        ["models/backbones", "quantization/static", "quantization/fake_quantization"],
        ["models/training", "quantization/mixed", "report/page", "benchmark/latency"],
    ),
    "train": (
        ["models/training", "models/augmentation", "models/pretrained_weights", "data/preprocess"],
        ["data/near_duplicates", "quantization/gptq", "report/page", "analysis/pick"],
    ),
    "export_fp32": (
        ["models/backbones", "models/export"],
        ["models/training", "quantization/gptq"],
    ),
    "prepare": (["quantization/integer_rewrites"], ["quantization/gptq", "models/training"]),
    "calibrate": (
        ["quantization/range_narrowing", "data/preprocess"],
        ["models/training", "report/page", "analysis/pick"],
    ),
    "quantize_int8": (
        ["quantization/static", "quantization/gptq", "quantization/bias_correction"],
        [
            "quantization/fake_quantization",
            "quantization/integer_rewrites",
            "report/page",
            "benchmark/latency",
        ],
    ),
    "sensitivity": (["quantization/sensitivity"], ["report/page", "benchmark/latency"]),
    "quantize_mixed": (["quantization/mixed"], ["report/page", "quantization/fake_quantization"]),
    "quantize_qat": (["quantization/fake_quantization"], ["report/page", "benchmark/latency"]),
    "quantize_swapped": (
        ["models/training", "quantization/activation_swap", "quantization/static"],
        ["report/page", "benchmark/latency", "quantization/qat"],
    ),
    "instruction_set": (["common/processors"], ["models/training", "quantization/static"]),
    "evaluate_emulated": (
        ["common/emulator", "models/logits_process", "models/onnx_session", "data/preprocess"],
        ["models/training", "analysis/emulated", "settings/sweep"],
    ),
    "evaluate": (
        ["evaluation/predictions", "models/onnx_session"],
        ["quantization/gptq", "models/training", "analysis/pick"],
    ),
    "bench": (["benchmark/worker", "benchmark/latency"], ["models/training", "report/page"]),
    "bench_finalists": (
        ["benchmark/joint_latency", "benchmark/worker", "analysis/pick", "analysis/candidates"],
        ["models/training", "report/page", "quantization/gptq"],
    ),
    "report": (
        ["report/page", "report/figures", "analysis/pick", "benchmark/device_results"],
        ["models/training", "quantization/gptq", "deploy/bundle"],
    ),
    "deploy": (
        ["deploy/bundle", "deploy/predictor", "data/preprocess"],
        ["data/near_duplicates", "report/figures", "models/training", "quantization/gptq"],
    ),
}


def test_the_table_has_every_stage():
    assert list(DEPENDS) and {script.stem for script in STAGES} == set(DEPENDS)


@pytest.mark.parametrize("stage", DEPENDS)
def test_a_stage_depends_on_what_decides_its_result_and_on_nothing_else(stage):
    package = SCRIPTS / "beansweep"
    sources = code_digest.sources(SCRIPTS / f"{stage}.py")
    needed, other = DEPENDS[stage]
    for module in needed:
        assert package / f"{module}.py" in sources
    for module in other:
        assert (package / f"{module}.py").is_file()
        assert package / f"{module}.py" not in sources
    # No stage depends on how the configuration is read, nor on how stages talk.
    names = {source.relative_to(SCRIPTS).as_posix() for source in sources}
    assert not names & set(code_digest.DECIDES_NOTHING) - {"beansweep/common/errors.py"}
    assert not any(name.startswith("beansweep/settings/") for name in names)


def test_the_page_and_the_predictor_count_as_text():
    package = SCRIPTS / "beansweep"
    assert package / "report/page.html" in code_digest.sources(SCRIPTS / "report.py")
    bundled = code_digest.sources(SCRIPTS / "deploy.py")
    # The bundle holds these files: their comments go to the device, too.
    for name in ("deploy/predictor.py", "data/preprocess.py", "common/errors.py"):
        assert package / name in bundled


def test_a_comment_in_the_predictor_changes_the_bundle(tmp_path):
    shutil.copytree(SCRIPTS, tmp_path / "scripts")
    before = digest(tmp_path / "scripts/deploy.py")
    with open(tmp_path / "scripts/beansweep/deploy/predictor.py", "a") as file:
        file.write("# Edited.\n")
    assert digest(tmp_path / "scripts/deploy.py") != before
