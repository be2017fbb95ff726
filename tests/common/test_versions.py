"""Results that other versions made are told, and the stages get the Python of Snakemake."""

import os
import subprocess
import sys

import pytest
from beansweep.common import versions


@pytest.fixture(autouse=True)
def two_packages(monkeypatch):
    monkeypatch.setattr(versions, "PACKAGES", ("numpy", "onnx"))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("BEANSWEEP_SNAKEMAKE_PREFIX", raising=False)


def test_logs_of_the_same_versions_are_not_told(tmp_path):
    (tmp_path / "train.log").write_text(f"{versions.header()}\nepoch 1\n")
    (tmp_path / "empty.log").write_text("")
    (tmp_path / "other.log").write_text("not a header, numpy 1.0\n")
    assert versions.changed(tmp_path) is None


def test_another_version_is_told_with_the_first_log(tmp_path):
    (tmp_path / "net").mkdir()
    for name in ("net/train.log", "report.log"):
        (tmp_path / name).write_text("made with python 3.1, numpy 1.0, gone 3.0\n")
    sentence = versions.changed(tmp_path)
    assert sentence.startswith(
        f"other versions made 2 of the results, such as that of {tmp_path}/net/train.log "
    )
    assert "numpy 1.0 then, " in sentence
    assert "python 3.1 then, " in sentence
    assert "gone" not in sentence
    assert "\n" not in sentence


def test_an_environment_of_the_rules_own_is_not_compared(tmp_path, monkeypatch):
    monkeypatch.setenv("BEANSWEEP_SNAKEMAKE_PREFIX", "/elsewhere")
    assert versions.header().endswith(", an environment of the rule's own")
    text = f"made with numpy 1.0, {versions.header().rpartition(', ')[2]}\n"
    (tmp_path / "train.log").write_text(text)
    assert versions.changed(tmp_path) is None


def test_a_stage_runs_with_the_python_that_runs_snakemake_and_keeps_its_bytecode(monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    versions.offer_this_python()
    code = "import sys; from beansweep.common import versions; print(sys.prefix, versions.header())"
    code += "; sys.exit(sys.dont_write_bytecode)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(
        ["/bin/sh", "-c", f"python3 -c '{code}'"], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"{sys.prefix} made with python ")
    assert "own" not in result.stdout
