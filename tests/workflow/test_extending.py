"""What docs/extending.md promises: so many places for a limit, a section and a kind of quantizer.

Each test edits a copy of the project at the places that the page names, and nowhere else, and sees
the addition work.
"""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import synthetic
import yaml
from conftest import PROJECT, TINY, check_out, configure, snakemake

CONFIG, SCHEMA = "config.yaml", "workflow/schemas/config.schema.yaml"
# What is added -> file -> text that is there, and the same with the addition.
PLACES = {
    "limit": {
        CONFIG: ("  max_megabytes: null", "  max_memory_mb: null\n  max_megabytes: null"),
        SCHEMA: (
            "      - objective\n    properties:\n",
            "      - objective\n"
            "      - max_memory_mb\n"
            "    properties:\n"
            "      max_memory_mb:\n"
            '        $ref: "#/$defs/limit"\n'
            "        description: Largest peak memory, in MB.\n"
            "        default: null\n",
        ),
        "scripts/beansweep/analysis/limits.py": (
            "LIMITS = [\n",
            'LIMITS = [\n    Limit("max_memory_mb", "peak_memory_mb", AT_MOST, "memory", digits=0, '
            'unit=" MB", relative=True),\n',
        ),
    },
    "section": {
        "scripts/beansweep/report/sections.py": (
            "SECTIONS = [\n    pick,\n",
            'def greeting(sweep: ReportData) -> str:\n    """A greeting."""\n'
            '    return f"## Greeting\\n\\nHello from {len(sweep.table)} candidates."\n\n\n'
            "SECTIONS = [\n    pick,\n    greeting,\n",
        )
    },
    "kind of quantizer": {
        CONFIG: (
            "  int8_dynamic: {",
            "  int8_untouched: {quantizer: untouched}\n  int8_dynamic: {",
        ),
        SCHEMA: (
            " qat, activation_swap]\n",
            " qat, activation_swap, untouched]\n",
        ),
        "scripts/beansweep/quantization/untouched.py": (
            "",
            '"""No quantization at all."""\n\n'
            "import onnx_ir as ir\n\n"
            "from beansweep.quantization.quantized import Quantized\n\n\n"
            "def quantize(prepared, recipe, sources):\n"
            '    """Leave the model as it is."""\n'
            "    return Quantized(ir.to_proto(prepared), recipe, session={})\n",
        ),
        "scripts/beansweep/quantization/quantizers.py": (
            '    "dynamic": dynamic.quantize,\n',
            '    "dynamic": dynamic.quantize,\n    "untouched": untouched.quantize,\n',
        ),
    },
}
# One file may need two edits; the second is a part of the same place.
IMPORT = (
    "from beansweep.quantization import dynamic, static, weight_only\n",
    "from beansweep.quantization import dynamic, static, untouched, weight_only\n",
)


def extended(folder: Path, what: str) -> Path:
    """A copy of the project with an addition; returns its folder."""
    check_out(folder)
    for name, (before, after) in PLACES[what].items():
        file = folder / name
        text = file.read_text() if before else ""
        assert before in text, f"{name} has changed: adapt the test and docs/extending.md"
        file.write_text(text.replace(before, after, 1) if before else after)
    return folder


@pytest.mark.parametrize(
    ("what", "title"),
    [
        ("limit", "A limit: three places"),
        ("section", "A section of the report: one or two places"),
        ("kind of quantizer", "A kind of quantizer: four places"),
    ],
)
def test_the_page_names_every_place(what, title):
    text = (PROJECT / "docs/extending.md").read_text()
    section = re.search(rf"^## {title}\n(.*?)^## ", text, re.DOTALL | re.MULTILINE).group(1)
    assert len(PLACES[what]) <= {"limit": 3, "section": 2, "kind of quantizer": 4}[what]
    for name in PLACES[what]:
        named = name.removeprefix("scripts/beansweep/")
        assert f"`{named}`" in section or f"`{named.rpartition('/')[0]}/`" in section, name


def test_a_limit_is_checked_and_said(tmp_path):
    project = extended(tmp_path / "project", "limit")
    variants = ["fp32", "int8_static"]
    synthetic.write(tmp_path, ["mobilenet_v3_small"], variants, images=8)
    deploy = {**synthetic.CONFIG["deploy"], "min_macro_f1": None, "max_missed_defect_rate": None}
    for megabytes, kept in ((80, False), (100, True)):
        result = synthetic.report(
            tmp_path,
            ["mobilenet_v3_small"],
            variants,
            project=project,
            deploy={**deploy, "max_memory_mb": megabytes},
        )
        assert result.returncode == 0, result.stderr
        report = (tmp_path / "results/pareto.md").read_text()
        assert f"memory at most {megabytes} MB" in report
        assert ("**Pick:" in report) == kept
        assert '"max_memory_mb"' in (tmp_path / "results/report.html").read_text()
    folder = tmp_path / "sweep"
    folder.mkdir()
    configure(folder, deploy={"max_memory_mb": -1})
    result = snakemake(folder, "--dry-run", "--cores", "1", snakefile=project / "Snakefile")
    assert result.returncode != 0
    assert "deploy.max_memory_mb" in result.stderr


def test_a_section_is_in_the_report(tmp_path):
    project = extended(tmp_path / "project", "section")
    synthetic.write(tmp_path, ["resnet18"], ["fp32", "int8_static"], images=6)
    result = synthetic.report(tmp_path, ["resnet18"], ["fp32", "int8_static"], project=project)
    assert result.returncode == 0, result.stderr
    assert "## Greeting\n\nHello from 2 candidates." in (tmp_path / "results/pareto.md").read_text()


def test_a_kind_of_quantizer_gets_a_variant_of_every_backbone(finished, tmp_path):
    project = extended(tmp_path / "project", "kind of quantizer")
    module = project / "scripts/beansweep/quantization/quantizers.py"
    before, after = IMPORT
    assert before in module.read_text()
    module.write_text(module.read_text().replace(before, after, 1))
    folder = tmp_path / "sweep"
    shutil.copytree(finished, folder)
    plan = snakemake(
        folder, "--dry-run", "--cores", "1", "results/pareto.md", snakefile=project / "Snakefile"
    )
    assert plan.returncode == 0, plan.stderr
    for backbone in TINY["backbones"]:
        assert f"results/{backbone}/int8_untouched.onnx" in plan.stdout + plan.stderr
    target = "results/squeezenet1_1/predictions/int8_untouched.csv"
    result = snakemake(folder, "--cores", "2", target, snakefile=project / "Snakefile")
    assert result.returncode == 0, result.stderr
    metadata = json.loads((folder / "results/squeezenet1_1/int8_untouched.json").read_text())
    assert metadata["recipe"] == {"quantizer": "untouched"}
    tables = []
    for variant in ("fp32", "int8_untouched"):
        tables.append(pd.read_csv(folder / f"results/squeezenet1_1/predictions/{variant}.csv"))
    assert (tables[0]["predicted"] == tables[1]["predicted"]).all()


def test_the_default_configuration_has_no_place_of_its_own_for_a_backbone(tmp_path):
    """A backbone is one entry of `backbones`."""
    backbones = yaml.safe_load((PROJECT / CONFIG).read_text())["backbones"]
    configure(tmp_path, backbones=[*TINY["backbones"], "resnet18"])
    assert "resnet18" not in backbones
    result = snakemake(tmp_path, "--dry-run", "--cores", "1", "results/pareto.md")
    assert result.returncode == 0, result.stderr
    assert "results/resnet18/latency.json" in result.stdout + result.stderr
