"""How often the same file is picked from resampled validation images."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from beansweep.analysis import candidates, decisions, finalists, pick, stability
from populations import image_set

DEPLOY = {
    "min_macro_f1": None,
    "max_missed_defect_rate": 0.08,
    "max_rejected_good_rate": None,
    "max_by_hand_rate": 0,
    "max_megabytes": None,
    "max_p50_ms": None,
    "objective": "p50_ms",
}
REPORT = {"confidence": 0.95, "non_inferiority_margin": 0.01}


def swept(noise, p50, per_kind=300, seed=0, **deploy):
    """The candidates of a made-up sweep, all FP32 of backbones of their own."""
    rng = np.random.default_rng(seed)
    images = {split: image_set(rng, noise, per_kind, per_kind) for split in ("val", "test")}
    names = [f"net{index}:fp32" for index in range(len(noise))]
    table = pd.DataFrame({"backbone": [f"net{index}" for index in range(len(noise))]}, names)
    table["baseline"], table["portability"], table["p50_ms"] = False, "", p50
    finalists.mark_timed_alone(table, "a machine")
    table["megabytes"] = 1.0
    table["p50_high_ms"] = table["p50_ms"]
    for split, own in images.items():
        judged = candidates.judge(own, table.index, np.arange(len(noise)), REPORT)
        table = table.join(judged.add_prefix(f"{split}_"))
    chosen = {**DEPLOY, **deploy}
    candidates.decide(table, images, chosen, 0.95)
    candidates.judge_pick(table, chosen)
    return candidates.Candidates(table, images, {}, chosen, REPORT)


def test_a_pick_that_nothing_comes_near_is_made_every_time():
    sweep = swept([0.1, 0.1, 3.0], [2.0, 1.0, 0.5])
    assert pick.choose(sweep.table, sweep.deploy) == "net1:fp32"
    names = stability.picks(sweep)
    assert len(names) == stability.RESAMPLES
    by_file, by_backbone = stability.shares(names, sweep.table)
    assert by_file["net1:fp32"] > 0.99
    assert by_backbone.index[0] == "net1"


def test_a_limit_at_the_estimate_is_kept_in_about_half_of_the_resamples():
    sweep = swept([0.5], [1.0])
    middle = sweep.table["val_rejected_good_rate_high"].iloc[0]
    on_the_edge = dataclasses.replace(sweep, deploy={**DEPLOY, "max_rejected_good_rate": middle})
    shares, _ = stability.shares(stability.picks(on_the_edge), sweep.table)
    assert 0.25 < shares["net0:fp32"] < 0.75
    assert shares.sum() == pytest.approx(1)
    assert shares[stability.NOTHING] == pytest.approx(1 - shares["net0:fp32"])


def test_where_fresh_images_change_the_pick_resamples_change_it_too():
    """A resample has noise of its own next to that of the images: it errs on the careful side."""
    noise, p50 = [0.1, 1.0], [2.0, 1.0]
    fresh = [swept(noise, p50, 80, seed).table for seed in range(1, 21)]
    assert 0.1 < np.mean([pick.choose(table, DEPLOY) == "net0:fp32" for table in fresh]) < 0.9
    names = [stability.picks(swept(noise, p50, 80, seed)) for seed in (1, 2)]
    assert 0.05 < np.mean(pd.concat(names) == "net0:fp32") < 0.95


def test_copies_of_an_image_in_a_resample_are_no_near_duplicates():
    images = image_set(np.random.default_rng(0), [0.1], 20, 20)
    times = np.tile([2, 0, 1, 1], 10)
    resample = images.repeat(times)
    assert len(resample.true) == times.sum()
    assert resample.defect_scores.shape[1] == times[images.defects].sum()
    joined = dataclasses.replace(images, group=np.arange(40) // 4)
    # Of each group of four near-duplicates one copy is of three images and one of a single image.
    assert joined.repeat(times).defect_scores.shape[1] == 10
    points = decisions.points(resample, DEPLOY, 0.95)
    assert len(points) == 1
