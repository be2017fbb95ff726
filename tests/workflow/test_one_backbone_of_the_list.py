"""The program that puts a list of backbones through the whole chain, with a list of one."""

import os
import subprocess
import sys

import pandas as pd
import pytest
from conftest import PROJECT

pytestmark = pytest.mark.slow


def test_a_backbone_goes_through_the_chain_and_into_the_report(tmp_path):
    name, program = "timm/test_efficientnet", PROJECT / "scripts/tools/backbone_list.py"
    result = subprocess.run(
        [sys.executable, program, tmp_path, "--names", name],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    table = pd.read_csv(tmp_path / "results/backbones.csv", keep_default_na=False)
    row = table.set_index("backbone").loc[name]
    assert row["failed"] == row["refused"] == ""
    assert row["variants"] == 6
    assert row["agreement"] > 0.9
    assert (tmp_path / "results/pareto.md").exists()
