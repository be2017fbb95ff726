"""The same settings make the same bytes on a machine, however often the run is killed."""

import shutil

import pytest
from conftest import configure, digests, snakemake
from kill_points import kill_in

BACKBONE = "squeezenet1_1"


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A sweep of one backbone that was killed in three ways, and went on each time."""
    folder = tmp_path_factory.mktemp("killed")
    configure(folder, backbones=[BACKBONE])
    for stage, victim in (
        ("train", "everything"),
        ("quantize_int8", "snakemake"),
        ("bench", "job"),
    ):
        assert kill_in(folder, stage, victim, 1.0), stage
    log = (folder / "killed.log").read_text()
    assert f"bench: {BACKBONE} was killed, most often for want of memory" in log
    result = snakemake(folder, "--cores", "4", "results/pareto.md")
    assert result.returncode == 0, result.stderr
    return folder


def test_a_sweep_that_was_killed_makes_what_an_unbroken_one_made(finished, killed, tmp_path):
    unbroken = shutil.copytree(finished, tmp_path / "unbroken")
    configure(unbroken, backbones=[BACKBONE])
    result = snakemake(unbroken, "--cores", "4", "results/pareto.md")
    assert result.returncode == 0, result.stderr
    expected = digests(unbroken / "results")
    for name in list(expected):
        # The other backbone, and bundles that other tests made.
        if name.startswith("mobilenet_v3_small/") or "deploy/" in name:
            del expected[name]
    assert digests(killed / "results") == expected
    for name in (f"{BACKBONE}/checkpoint.pt", f"{BACKBONE}/int8_static.onnx", "pareto.csv"):
        assert name in expected


def test_a_killed_sweep_leaves_no_litter(killed):
    hidden = {path.name for path in (killed / "results").rglob(".*")}
    assert hidden <= {".snakemake_timestamp"}
