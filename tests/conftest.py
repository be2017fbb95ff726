"""Shared by the tests: small folders of images, and runs of the real Snakefile."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import hypothesis
import numpy as np
import pandas as pd
import pytest
import yaml
from beansweep.common import files
from beansweep.models import backbones, onnx_session
from onnx import TensorProto, helper
from PIL import Image

# Machines are slow at times, and a slow example is no wrong one.
hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.load_profile("project")

PROJECT = Path(__file__).resolve().parents[1]
TINY = {
    "generate": {"image_size": 48, "images": {"train": 8, "val": 4, "test": 5}},
    "backbones": ["mobilenet_v3_small", "squeezenet1_1"],
    "train": {"image_size": 48, "epochs": 2, "batch_size": 8},
    "calibration": {"minmax": {"images": 6}, "percentile": {"images": 6}},
    "variants": {
        "int8_static": {"calibration": ["minmax", "percentile"]},
        "int8_qat": {"epochs": 1},
        "int8_dynamic": None,
    },
    "bench": {"processes": 2, "rounds": 2, "queries": 3, "warmup": 1, "finalist_minutes": 0},
}
VARIANTS = ["fp32", "int8_ort_default", "int8_static", "int8_mixed", "int8_qat", "int8_weight_only"]


@cache
def kernels_saturate() -> bool:
    """Whether ONNX Runtime's integer kernels saturate in this process, by a pair of products.

    `processors.detect` would be wrong in an emulator, which shows the /proc/cpuinfo of its host.
    """
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["data", "weight"], ["sum"])],
        "graph",
        [
            helper.make_tensor_value_info("data", TensorProto.UINT8, [1, 2]),
            helper.make_tensor_value_info("weight", TensorProto.INT8, [2, 1]),
        ],
        [helper.make_tensor_value_info("sum", TensorProto.INT32, [1, 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    feeds = {"data": np.full((1, 2), 255, np.uint8), "weight": np.full((2, 1), 127, np.int8)}
    return (
        onnx_session.create(model.SerializeToString()).run(None, feeds)[0].item() != 2 * 255 * 127
    )


@pytest.fixture(scope="session", params=[True, False], ids=["7-bit weights", "8-bit weights"])
def reduce_range(request) -> bool:
    """A recipe's `reduce_range` where integer kernels have to be exact.

    With 7-bit weights they are on every machine, with 8-bit ones where they do not saturate.
    """
    if not request.param and kernels_saturate():
        pytest.skip("kernels saturate with 8-bit weights here")
    return request.param


@pytest.fixture
def image_folder(tmp_path):
    """A function that writes `<root>/<path>` images of random pixels, and returns the root."""
    rng = np.random.default_rng(0)

    def write(*paths: str, size=(40, 40)) -> Path:
        for path in paths:
            file = tmp_path / "images" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            coarse.resize(size, Image.Resampling.BICUBIC).save(file)
        return tmp_path / "images"

    return write


def check_out(folder: Path) -> Path:
    """Copy the project to a folder, as a fresh checkout does; returns the Snakefile there."""
    for name in ("workflow", "scripts", "envs"):
        shutil.copytree(
            PROJECT / name,
            folder / name,
            copy_function=shutil.copyfile,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    for name in ("Snakefile", "config.yaml"):
        shutil.copyfile(PROJECT / name, folder / name)
    return folder / "Snakefile"


def command(
    folder: Path,
    *arguments: str,
    snakefile: Path = PROJECT / "Snakefile",
    sweep: str = "sweep.yaml",
) -> list[str]:
    """Snakemake's command line for a run in a folder, with the folder's configuration if any.

    Parameters
    ----------
    folder : the working folder
    arguments : targets and options
    snakefile : that of this project, or of a copy
    sweep : name of the folder's configuration
    """
    own = ["--configfile", sweep] if (folder / sweep).exists() else []
    return [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(snakefile),
        *arguments,
        "--nocolor",
        "--workflow-profile",
        str(snakefile.parent / "workflow/profiles/default"),
        *own,
    ]


def snakemake(folder: Path, *arguments: str, **options) -> subprocess.CompletedProcess:
    """Run the project's Snakefile in `folder`; options as for `command`."""
    return subprocess.run(
        command(folder, *arguments, **options),
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        timeout=540,
    )


def configure(folder: Path, sweep: str = "sweep.yaml", **changes) -> None:
    """Write the tiny sweep, with changes, as a folder's configuration."""
    (folder / sweep).write_text(yaml.safe_dump({**TINY, **changes}))
    keep_backbone_names(folder)


def keep_backbone_names(folder: Path) -> None:
    """Write the list of all backbones that a run keeps: to make it takes seconds in each folder."""
    cache = folder / ".snakemake/beansweep/backbones.json"
    if not cache.exists():
        files.write_json(cache, known_backbones())


@cache
def known_backbones() -> list[str]:
    return backbones.known()


def jobs_of(result: subprocess.CompletedProcess) -> dict[str, int]:
    """The jobs that a run or a dry run announced: rule -> number."""
    assert result.returncode == 0, result.stderr
    table = re.search(
        r"^Job stats:\n(.*?)^total", result.stdout + result.stderr, re.DOTALL | re.MULTILINE
    )
    rows = table.group(1).splitlines()[2:] if table else []
    return {rule: int(count) for rule, count in (row.split() for row in rows)}


def planned(folder: Path, *arguments: str, **options) -> dict[str, int]:
    """What a dry run would do: rule -> number of jobs."""
    return jobs_of(snakemake(folder, "--dry-run", "--cores", "2", *arguments, **options))


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A folder in which the tiny sweep has run.

    Its results are for reading; a test that changes its configuration restores it.
    """
    folder = tmp_path_factory.mktemp("sweep")
    configure(folder)
    result = snakemake(folder, "--cores", "4", "results/pareto.md")
    assert result.returncode == 0, result.stderr
    return folder


_TIMES = ("latency.json", "finalists.json")
_TIMED = re.compile(
    r"seconds|images_per_second|.*_ms|.*memory_mb|speedup.*|front|pick|obstacles|time_scale"
    r"|timed_together|dominated_by|p50_beaten_by|queries"
)
# What `slowness.finding` adds to the finding of a variant that was timed as slower than FP32.
_SLOWNESS = r"(; )?slower than FP32.*"


def digests(results: Path) -> dict[str, str]:
    """What a sweep made, without times: path -> SHA-256, of tables without the timed columns.

    A partial report is left out.
    """
    found = {}
    for path in sorted(results.rglob("*")):
        name = path.relative_to(results).as_posix()
        is_result = path.is_file() and not name.startswith(("logs/", "figures/", "partial/", "."))
        if is_result and path.suffix not in (".md", ".html") and path.name not in _TIMES:
            found[name] = hashlib.sha256(_without_times(path)).hexdigest()
    return found


def _without_times(path: Path) -> bytes:
    """A file's bytes; of a table that has times, those of its other columns."""
    if path.name not in ("history.csv", "pareto.csv"):
        return path.read_bytes()
    table = pd.read_csv(path)
    untimed = [column for column in table if not _TIMED.fullmatch(column)]
    if "finding" in table:
        table["finding"] = table["finding"].astype("str").str.replace(_SLOWNESS, "", regex=True)
    return table[untimed].to_csv().encode()
