"""Times of all candidates on one scale, by those that were timed together."""

import json

import numpy as np
import pandas as pd
import pytest
import synthetic
from beansweep.analysis import candidates, pick, standing
from beansweep.common import files

NETS = ["mobilenet_v3_small", "mobilenet_v3_large"]
VARIANTS = ["fp32", "int8_static", "int8_weight_only"]
SMALL, LARGE = (f"{net}:int8_static" for net in NETS)
NO_LIMITS = synthetic.NO_LIMITS


@pytest.fixture
def sweep(tmp_path):
    """The folder of a sweep of six candidates."""
    synthetic.write(tmp_path, NETS, VARIANTS, images=8)
    return tmp_path / "results"


def read(sweep, together=None):
    report = synthetic.CONFIG["report"]
    return candidates.read(
        sweep, NETS, VARIANTS, synthetic.GOOD, NO_LIMITS, report, together=together
    ).table


def change(sweep, backbone, **changes):
    """Change a backbone's latency.json."""
    path = sweep / backbone / "latency.json"
    files.write_json(path, {**json.loads(path.read_text()), **changes})


def test_without_finalists_the_benches_count(sweep):
    table = read(sweep)
    assert not table["timed_together"].any()
    assert not table["timed_elsewhere"].any()
    assert (table["time_scale"] == 1).all()
    none = read(sweep, synthetic.finalists({}))
    pd.testing.assert_frame_equal(table, none)


def test_finalists_have_the_times_that_were_measured_together(sweep):
    before = read(sweep)
    together = synthetic.finalists({SMALL: 0.9, LARGE: 1.5})
    table = read(sweep, together)
    assert table.index[table["timed_together"]].tolist() == [SMALL, LARGE]
    for name in (SMALL, LARGE):
        for figure in ("p50_ms", "p50_high_ms", "p99_ms", "images_per_second", "queries"):
            assert table.loc[name, figure] == together["candidates"][name][figure]
        # These are of the bench alone: interleaved with FP32, and from processes of their own.
        for figure in ("speedup", "load_ms", "peak_memory_mb", "megabytes"):
            assert table.loc[name, figure] == before.loc[name, figure]
    assert table.loc[LARGE, "p50_beaten_by"] == [SMALL]
    assert table.loc[SMALL, "p50_beaten_by"] == []


def test_a_slower_machine_changes_no_order_within_a_backbone(sweep):
    """Else what was not timed again would overtake what was."""
    before = read(sweep)
    slower = 1.7
    together = synthetic.finalists({SMALL: slower * before.loc[SMALL, "p50_ms"]})
    table = read(sweep, together)
    small = table["backbone"] == NETS[0]
    scale = table.loc[SMALL, "p50_ms"] / before.loc[SMALL, "p50_ms"]
    assert scale == pytest.approx(slower, rel=0.05)
    others = small & ~table["timed_together"]
    assert table.loc[others, "time_scale"].tolist() == pytest.approx([scale] * 2)
    for figure in ("p50_ms", "p99_ms", "end_to_end_p50_ms"):
        expected = (scale * before.loc[others, figure]).tolist()
        assert table.loc[others, figure].tolist() == pytest.approx(expected)
    assert table.loc[small, "p50_ms"].rank().tolist() == before.loc[small, "p50_ms"].rank().tolist()
    assert pick.choose(table, NO_LIMITS) == pick.choose(before, NO_LIMITS) == SMALL


def test_the_control_model_shows_the_speed_of_a_backbone_without_finalists(sweep):
    before = read(sweep)
    together = synthetic.finalists({SMALL: 0.5})
    bench = files.read_json(sweep / NETS[1] / "latency.json")
    control = together["controls"]["control_model"]
    control["p50_ms"] = 3 * bench["controls"]["control_model"]["p50_ms"]
    table = read(sweep, together)
    assert table.loc[LARGE, "time_scale"] == pytest.approx(3)
    assert table.loc[LARGE, "p50_ms"] == pytest.approx(3 * before.loc[LARGE, "p50_ms"])
    assert table.loc[LARGE, "images_per_second"] == pytest.approx(
        before.loc[LARGE, "images_per_second"] / 3
    )


def test_the_noise_of_the_finalists_is_in_the_intervals_of_the_others(sweep):
    other, widths = f"{NETS[0]}:fp32", []
    together = synthetic.finalists({SMALL: 0.5})
    for spread in (1.0, 1.5):
        together["candidates"][SMALL] |= {"p50_low_ms": 0.5 / spread, "p50_high_ms": 0.5 * spread}
        row = read(sweep, together).loc[other]
        widths.append(row["p50_high_ms"] / row["p50_low_ms"])
    quiet, noisy = np.log(widths)
    assert 0 < quiet < 0.2
    assert noisy == pytest.approx(np.hypot(quiet, 2 * np.log(1.5)))


@pytest.mark.parametrize(
    "other",
    [
        {"machine": {**synthetic.MACHINE, "cpu": "another"}},
        {"machine": {**synthetic.MACHINE, "instruction_set": "AVX2"}},
        {"machine": {**synthetic.MACHINE, "onnxruntime": "1.0.0"}},
        {"settings": {"threads": [2]}},
    ],
    ids=["processor", "instruction set", "ONNX Runtime", "threads"],
)
def test_times_of_another_machine_are_not_on_the_front_nor_picked(sweep, other):
    # There it would be the fastest by far.
    bench = files.read_json(sweep / NETS[1] / "latency.json")
    for figures in bench["variants"].values():
        figures["p50_ms"] = 0.001
    change(sweep, NETS[1], variants=bench["variants"], **other)
    for together in (None, synthetic.finalists({SMALL: 0.9})):
        table = read(sweep, together)
        large = table["backbone"] == NETS[1]
        assert table["timed_elsewhere"].tolist() == large.tolist()
        assert table.loc[large, "obstacles"].str.startswith("timed on another machine (").all()
        assert not table.loc[large, "front"].any()
        assert (table.loc[large, "p50_ms"] == 0.001).all()
        dominators = {name for names in table["dominated_by"] for name in names}
        assert not dominators & set(table.index[large])
        assert table.loc[~large, "front"].any()
        assert pick.choose(table, NO_LIMITS) == SMALL


def test_the_machine_of_the_finalists_counts(sweep):
    """The sweep was moved to another machine, and only the finalists were timed there."""
    elsewhere = {**synthetic.MACHINE, "cpu": "another"}
    together = synthetic.finalists({SMALL: 9.0, LARGE: 8.0}, machine=elsewhere)
    table = read(sweep, together)
    assert table.index[~table["timed_elsewhere"]].tolist() == [SMALL, LARGE]
    assert (table["time_scale"] == 1).all()
    assert table["timed_on"].str.startswith("another").tolist() == (
        table["timed_together"].tolist()
    )


@pytest.mark.parametrize(("slower", "tie"), [(1.0005, True), (1.2, False)])
def test_finalists_tie_where_no_ratio_tells_them_apart(sweep, slower, tie):
    together = synthetic.finalists({SMALL: 0.6, LARGE: 0.6 * slower})
    ratio = together["ratios"][LARGE][SMALL]
    assert (ratio["low"] <= 1 <= ratio["high"]) == tie
    table = read(sweep, together)
    for column in standing.COMPARISONS:
        table[column] = [[] for _ in table.index]
    # Their own intervals would call both cases a tie.
    table["p50_low_ms"], table["p50_high_ms"] = 0.1, 9.0
    chosen = pick.choose(table, NO_LIMITS)
    assert chosen in (SMALL, LARGE)
    other = LARGE if chosen == SMALL else SMALL
    assert (other in pick.tied(table, NO_LIMITS)) == tie
