"""The Snakefile: its page, its commands, and what it uses of Snakemake."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jinja2
import pytest
from conftest import PROJECT, configure, digests, snakemake
from test_reruns import check_out

RULES = sorted((PROJECT / "workflow/rules").glob("*.smk"))
SNAKEFILES = [PROJECT / "Snakefile", *RULES]


def rule_names() -> set[str]:
    text = "".join(file.read_text() for file in RULES)
    return set(re.findall(r"^rule (\w+):", text, re.MULTILINE))


def test_the_head_of_the_snakefile_draws_every_rule_once_or_more():
    lines = (PROJECT / "Snakefile").read_text().splitlines()
    head = lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))]
    assert set(re.findall(r"\[(\w+)\]", "\n".join(head))) == rule_names()
    assert len(head) <= 60


def test_of_the_workflow_object_four_public_attributes_are_used():
    used = set()
    for file in SNAKEFILES:
        used |= set(re.findall(r"\bworkflow\.(\w+)", re.sub(r'"[^"\n]*"', '""', file.read_text())))
    assert used == {"basedir", "configfiles", "cores", "is_main_process"}


def test_what_the_rules_share_is_short():
    assert len((PROJECT / "workflow/rules/common.smk").read_text().splitlines()) <= 95


@pytest.mark.parametrize("file", SNAKEFILES, ids=lambda file: file.name)
def test_no_line_is_long(file):
    assert max(map(len, file.read_text().splitlines())) <= 100


def test_a_printed_command_makes_the_same_when_it_is_pasted(tmp_path):
    configure(tmp_path)
    manifest = tmp_path / "results/dataset/manifest.csv"
    result = snakemake(tmp_path, "--cores", "2", "--printshellcmds", "results/dataset/manifest.csv")
    assert result.returncode == 0, result.stderr
    expected = digests(tmp_path / "results")
    # Snakemake's own mark of a folder's time.
    del expected["dataset/generated/.snakemake_timestamp"]
    commands = re.findall(r"^Shell command: (python3 .*)", result.stderr, re.MULTILINE)
    assert len(commands) == 2
    manifest.unlink()
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for command in commands:
        subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, check=True)
    assert digests(tmp_path / "results") == expected


def test_the_caption_of_the_table_has_the_confidence_with_all_its_digits():
    caption = jinja2.Template((PROJECT / "workflow/report/table.rst").read_text())
    for confidence, words in ((0.95, "95%"), (0.999, "99.9%")):
        job = SimpleNamespace(config={"report": {"confidence": confidence}})
        assert f"{words} intervals" in caption.render(snakemake=job)


def test_code_that_cannot_be_traced_is_one_sentence(tmp_path):
    snakefile = check_out(tmp_path)
    module = tmp_path / "scripts/beansweep/data/preprocess.py"
    module.write_text(f"{module.read_text()}\n\ndef later(name):\n    __import__(name)\n")
    line = len(module.read_text().splitlines())
    result = snakemake(tmp_path, "--dry-run", "--cores", "1", snakefile=snakefile)
    assert result.returncode == 1
    sentence = f"beansweep: {module}, line {line}: the code digest does not follow __import__"
    assert [text for text in result.stderr.splitlines() if text.startswith(sentence)]
    assert "Traceback" not in result.stdout + result.stderr


def test_an_old_name_in_a_configuration_is_one_sentence(tmp_path):
    configure(tmp_path, variants={"int8_reference": None})
    result = snakemake(tmp_path, "--dry-run", "--cores", "1")
    assert result.returncode == 1
    sentence = "beansweep: variants.int8_reference is now called int8_ort_default: rename it"
    assert sentence in result.stderr.splitlines()
