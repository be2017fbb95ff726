"""A variant with another activation, made by the real workflow."""

import pandas as pd
import pytest
from beansweep.common import files
from conftest import TINY, configure, snakemake

pytestmark = pytest.mark.slow
SWAP = {"quantizer": "activation_swap", "base": "int8_static", "epochs": 1}
SWAP |= {"activations": "hardswish", "learning_rate": 0.0003}
BACKBONE = "timm/test_efficientnet"


def test_it_is_a_candidate_that_says_what_it_is_and_a_change_of_it_trains_nothing_else(tmp_path):
    others = ("int8_ort_default", "int8_mixed", "int8_weight_only", "int8_qat", "int8_dynamic")
    left_out = dict.fromkeys(others)
    variants = {**TINY.get("variants", {}), **left_out, "int8_hardswish": SWAP}
    configure(tmp_path, backbones=[BACKBONE], variants=variants)
    result = snakemake(tmp_path, "--cores", "2", "results/pareto.md")
    assert result.returncode == 0, result.stderr
    metadata = files.read_json(tmp_path / "results/timm-test_efficientnet/int8_hardswish.json")
    assert metadata["recipe"]["swapped"]["SiLU"] == 11
    steps = [trial["step"] for trial in metadata["recipe"]["trials"]]
    assert steps == ["swapped", "trained", "quantized"]
    assert not list(tmp_path.glob("results/timm-test_efficientnet/.*.resume.pt"))
    table = pd.read_csv(tmp_path / "results/pareto.csv").set_index("variant")
    assert "another function: 11 SiLU are hardswish" in table.loc["int8_hardswish", "finding"]
    variants["int8_hardswish"] = {**SWAP, "epochs": 2}
    configure(tmp_path, backbones=[BACKBONE], variants=variants)
    again = snakemake(tmp_path, "--dry-run", "--cores", "2", "results/pareto.md")
    assert "rule quantize_swapped" in again.stdout
    assert "rule train:" not in again.stdout
    assert "rule quantize_int8:" not in again.stdout
