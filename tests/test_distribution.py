"""Tests that share a finished sweep run in one process, wherever they are."""

import os
import subprocess
import sys

from conftest import PROJECT

TESTS = """
import os, pytest

@pytest.fixture
def finished():
    pass

@pytest.mark.parametrize("number", range(4))
def test_of_a_sweep(finished, number):
    with open({log!r}, "a") as file:
        file.write(os.environ["PYTEST_XDIST_WORKER"] + "\\n")
"""


def test_tests_of_a_finished_sweep_share_a_process(tmp_path):
    log = tmp_path / "workers"
    for name in ("test_a.py", "test_b.py"):
        (tmp_path / name).write_text(TESTS.format(log=str(log)))
    options = ["-p", "distribution", "--numprocesses", "2", "--dist", "loadgroup"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "--rootdir", tmp_path, *options, tmp_path],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PROJECT / "tests")},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout
    workers = log.read_text().split()
    assert len(workers) == 8
    assert len(set(workers)) == 1
