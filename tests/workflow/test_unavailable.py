"""A variant that a backbone cannot have is in the report with its reason, and the rest goes on."""

import json
import shutil

import pandas as pd
import pytest
from conftest import check_out, configure, snakemake

RAISE = """
    from beansweep.quantization.not_applicable import NotApplicable

    raise NotApplicable("training does not know Einsum")
"""


@pytest.fixture(scope="module")
def without_training(finished, tmp_path_factory):
    """The finished sweep, made again by a project that cannot train any network in INT8."""
    folder = tmp_path_factory.mktemp("unavailable")
    for name in ("results", ".snakemake"):
        shutil.copytree(finished / name, folder / name)
    configure(folder)
    snakefile = check_out(folder / "project")
    module = snakefile.parent / "scripts/beansweep/quantization/fake_quantization.py"
    line = "        unknown = torch_operators.unknown(model.graph)\n"
    text = module.read_text()
    assert text.count(line) == 1
    module.write_text(text.replace(line, line + RAISE.replace("\n    ", "\n        ")))
    result = snakemake(folder, "--cores", "2", "results/pareto.md", snakefile=snakefile)
    assert result.returncode == 0, result.stderr
    return folder, snakefile, result.stderr


def test_what_cannot_be_made_is_said_in_the_run_and_in_the_report(without_training):
    folder, _, said = without_training
    assert "mobilenet_v3_small has no int8_qat: training does not know Einsum" in said
    text = (folder / "results/pareto.md").read_text()
    for backbone in ("mobilenet_v3_small", "squeezenet1_1"):
        assert f"| `{backbone}` | `int8_qat` | training does not know Einsum |" in text


def test_all_other_variants_are_candidates(without_training):
    folder = without_training[0] / "results"
    table = pd.read_csv(folder / "pareto.csv")
    assert table.groupby("backbone").size().tolist() == [4, 4]
    assert "int8_qat" not in set(table["variant"])
    assert (
        "int8_qat"
        not in json.loads((folder / "squeezenet1_1/latency.json").read_text())["variants"]
    )


def test_it_cannot_be_bundled(without_training):
    folder, snakefile, _ = without_training
    target = "results/squeezenet1_1/deploy/int8_qat"
    result = snakemake(folder, "--cores", "1", target, snakefile=snakefile)
    assert result.returncode != 0
    assert "squeezenet1_1 has no int8_qat: results/pareto.md says why" in result.stderr
