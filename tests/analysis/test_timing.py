"""Figures of timed queries, and their intervals."""

import json

import numpy as np
import pytest
from beansweep.analysis import timing


def test_quantiles_and_throughput_are_numpys():
    samples = np.random.default_rng(0).uniform(1, 3, (2, 5, 7))
    figures = timing.summarise(samples, batch_size=4)
    assert figures["p95_ms"] == np.quantile(samples, 0.95)
    assert figures["queries"] == 70
    assert figures["images_per_second"] == pytest.approx(4000 / samples.mean())


def test_percentiles_are_named_after_what_they_are_of():
    figures = timing.percentiles(np.array([1.0, 2.0, 3.0]), (50, 100), "end_to_end_")
    assert figures == {"end_to_end_p50_ms": 2.0, "end_to_end_p100_ms": 3.0}


def test_a_model_is_as_fast_as_itself():
    samples = np.random.default_rng(0).uniform(1, 3, (4, 5, 7))
    assert timing.ratio(samples, samples, 0.95) == {"ratio": 1, "low": 1, "high": 1}


def test_one_process_alone_does_not_show_how_much_processes_differ():
    samples = np.full((1, 2, 3), 2.0)
    assert timing.p50_interval(samples, 0.95) == {"p50_low_ms": None, "p50_high_ms": None}
    assert timing.ratio(samples, samples / 2, 0.95) == {"ratio": 2, "low": None, "high": None}


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_intervals_cover_what_a_process_does_to_all_its_queries(confidence):
    rng = np.random.default_rng(0)
    covered, p50_covered = 0, 0
    for _ in range(300):
        process = np.exp(rng.normal(0, 0.05, (2, 5, 1, 1)))
        slow, fast = process * rng.gamma(50, [[[[2 / 50]]], [[[1 / 50]]]], (2, 5, 8, 10))
        ratio = timing.ratio(slow, fast, confidence)
        covered += ratio["low"] <= 2 <= ratio["high"]
        p50 = timing.p50_interval(fast, confidence)
        # The median of this gamma distribution.
        p50_covered += p50["p50_low_ms"] <= 0.99335 <= p50["p50_high_ms"]
    assert covered / 300 == pytest.approx(confidence, abs=0.05)
    assert p50_covered / 300 == pytest.approx(confidence, abs=0.05)


def test_an_interval_of_few_processes_at_a_high_confidence_is_made_of_numbers():
    samples = np.array([[[1.0]], [[1.1]]])
    interval = timing.p50_interval(samples, 1 - 1e-9)
    assert interval["p50_low_ms"] < 1e-9
    assert 1e9 < interval["p50_high_ms"] < np.inf


@pytest.mark.parametrize(("shared", "own"), [(0.2, 0.02), (0.0, 0.1)])
def test_a_carried_interval_covers_with_the_noise_of_both_benchmarks(shared, own):
    """A machine that was twice as slow in the later one; processes slow down all models, or one."""
    rng, covered = np.random.default_rng(0), 0
    for _ in range(400):
        before, after = rng.normal(0, shared, (2, 5, 1, 1))
        model, link, again = (
            middle * np.exp(speed + rng.normal(0, own, (5, 1, 1)) + rng.normal(0, 0.02, (5, 8, 1)))
            for middle, speed in ((3, before), (1, before), (2, after))
        )
        links = [({"samples_ms": link}, timing.p50_interval(again, 0.95))]
        found = timing.carried_p50_interval(model, links, 0.95)
        covered += found["p50_low_ms"] <= 6 <= found["p50_high_ms"]
    assert 0.93 <= covered / 400 <= 0.99


def test_a_ratio_is_hardly_touched_by_a_machine_that_changes_its_speed():
    """Its processors take turns at two speeds, for a few rounds each."""
    rng = np.random.default_rng(0)
    covered, widths, widths_of_medians = 0, [], []
    for _ in range(300):
        slow_rounds = rng.random((5, 8, 1)) < 0.5
        speed = np.where(slow_rounds, 1.35, 1.0)
        slow, fast = speed * rng.gamma(400, [[[[1.1 / 400]]], [[[1 / 400]]]], (2, 5, 8, 10))
        ratio = timing.ratio(slow, fast, 0.95)
        covered += ratio["low"] <= 1.1 <= ratio["high"]
        widths.append(np.log(ratio["high"] / ratio["low"]))
        whole = [samples.reshape(5, 1, 80) for samples in (slow, fast)]
        without_rounds = timing.ratio(*whole, 0.95)
        widths_of_medians.append(np.log(without_rounds["high"] / without_rounds["low"]))
    assert covered / 300 == pytest.approx(0.95, abs=0.04)
    assert np.mean(widths) < 0.75 * np.mean(widths_of_medians)


def test_the_intervals_of_a_bench_have_the_confidence_of_the_report(tmp_path):
    rng = np.random.default_rng(0)
    times = {}
    for name, middle in (("fp32", 2), ("int8", 1), ("fp32_again", 2), ("control_model", 0.5)):
        samples = middle * np.exp(rng.normal(0, 0.02, (5, 1, 1)) + rng.normal(0, 0.1, (5, 3, 4)))
        times[name] = {"samples_ms": samples.tolist(), "p50_ms": middle}
    times["fp32"]["integer_products_ms"] = None
    times["int8"]["integer_products_ms"] = 0.5
    variants = {name: times[name] for name in ("fp32", "int8")}
    controls = {name: times[name] for name in ("fp32_again", "control_model")}
    (tmp_path / "latency.json").write_text(json.dumps({"variants": variants, "controls": controls}))
    narrow, wide = (timing.read(tmp_path / "latency.json", level) for level in (0.8, 0.99))
    assert wide["variants"]["fp32"]["speedup_low"] == 1 == wide["variants"]["fp32"]["speedup_high"]
    for models in ("variants", "controls"):
        for name, model in narrow[models].items():
            wider = wide[models][name]
            assert wider["p50_low_ms"] < model["p50_low_ms"] < model["p50_high_ms"]
            assert model["p50_high_ms"] < wider["p50_high_ms"]
            assert wider["speedup_low"] <= model["speedup_low"] <= model["speedup"]
    assert narrow["variants"]["int8"]["speedup"] == pytest.approx(2, rel=0.1)
    assert narrow["variants"]["int8"]["speedup_limit"] == 4
    assert narrow["variants"]["fp32"]["speedup_limit"] is None
