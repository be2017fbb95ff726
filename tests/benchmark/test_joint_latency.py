"""Candidates of several backbones are timed together until they are ranked, or time is up."""

import itertools

import numpy as np
import pytest
from beansweep.benchmark import control_model, joint_latency, latency
from beansweep.benchmark.worker import CONTROL_MODEL
from beansweep.common import files
from onnx import TensorProto, helper, save

SETTINGS = {
    "threads": [1, 2],
    "batch_size": 1,
    "processes": 4,
    "rounds": 2,
    "queries": 3,
    "warmup": 0,
    "seed": 0,
    "finalist_minutes": 3,
}


@pytest.fixture
def timed(tmp_path, monkeypatch):
    """A function that times made-up models, without any process.

    It gets candidate -> p50 in ms, how much processes differ, and which candidates do the same
    arithmetic. The clock goes on by a second a process.
    """
    monkeypatch.setattr(control_model, "write", lambda folder: folder / "control_model.json")
    clock = itertools.count()
    monkeypatch.setattr(joint_latency.time, "monotonic", lambda: next(clock) / 2)

    def measure(p50, noise=0.0, same=(), seed=0, confidence=0.95, **changes):
        rng = np.random.default_rng(seed)

        def run(function, models, photographs, settings, threads, process, plan):
            assert threads == 1
            shared = rng.normal(0, 0.3)
            alone, end_to_end = {}, {}
            for name in models:
                middle = np.log(p50.get(name, 1)) + shared + rng.normal(0, noise)
                alone[name] = np.full((2, 3), np.exp(middle)).tolist()
                if name != CONTROL_MODEL:
                    end_to_end[name] = (1 + np.array(alone[name])).tolist()
            return alone, end_to_end

        monkeypatch.setattr(latency, "run_in_fresh_process", run)
        metadata_files = {}
        for name in p50:
            metadata_files[name] = tmp_path / f"{name}.json"
            files.write_json(metadata_files[name], {"session": {}, "preprocessing": {}})
            size = 1 if name in same else 2 + list(p50).index(name)
            relu = helper.make_node("Relu", ["image"], ["logits"])
            values = [
                helper.make_tensor_value_info(value, TensorProto.FLOAT, [size])
                for value in ("image", "logits")
            ]
            graph = helper.make_graph([relu], name, values[:1], values[1:])
            save(helper.make_model(graph), tmp_path / f"{name}.onnx")
        return joint_latency.measure(metadata_files, [], {**SETTINGS, **changes}, confidence)

    return measure


def test_clear_differences_are_ranked_by_the_fewest_processes(timed):
    found = timed({"a": 2.0, "b": 1.0, "c": 1.1}, noise=0.002)
    assert (found["processes"], found["stopped"]) == (4, "ranked")
    assert list(found["candidates"]) == ["a", "b", "c"]
    assert found["ratios"]["a"]["b"]["ratio"] == pytest.approx(2, rel=0.01)
    assert found["ratios"]["b"]["c"]["high"] < 1 < found["ratios"]["c"]["b"]["low"]
    assert "a" not in found["ratios"]["a"]
    assert set(found["controls"]) == {CONTROL_MODEL}
    for figures in found["candidates"].values():
        assert np.shape(figures["samples_ms"]) == (4, 2, 3)
        assert figures["p50_low_ms"] < figures["p50_ms"] < figures["p50_high_ms"]
        # What slows a whole process down cancels out of ratios, and only of them.
        assert figures["p50_high_ms"] > 1.2 * figures["p50_low_ms"]
        assert figures["end_to_end_p50_ms"] > figures["p50_ms"]


def test_small_differences_take_more_processes(timed):
    found = timed({"a": 1.0, "b": 1.06}, noise=0.04)
    assert found["stopped"] == "ranked"
    assert found["processes"] > 4
    assert joint_latency.is_known(found["ratios"]["a"]["b"])


def test_what_makes_no_difference_is_known_too(timed):
    found = timed({"a": 1.0, "b": 1.0}, noise=0.001)
    ratio = found["ratios"]["a"]["b"]
    assert (found["processes"], found["stopped"]) == (4, "ranked")
    assert ratio["low"] < 1 < ratio["high"] < 1 + joint_latency.NEGLIGIBLE


@pytest.mark.parametrize(("minutes", "most"), [(0, 4), (0.2, 12), (1, 60)])
def test_time_is_bounded_but_for_the_least_number_of_processes(timed, minutes, most):
    found = timed({"a": 1.0, "b": 1.001}, noise=0.5, finalist_minutes=minutes)
    assert found["stopped"] == "time"
    assert max(4, most / 2) <= found["processes"] <= most
    ratio = found["ratios"]["a"]["b"]
    assert ratio["low"] < 1 < ratio["high"]


def test_to_look_often_makes_no_differences_out_of_chance(timed):
    """Two equal candidates are told apart in at most 1 of 10 timings, at a confidence of 0.9."""
    wrong = 0
    for seed in range(300):
        found = timed({"a": 1.0, "b": 1.0}, 0.3, seed=seed, confidence=0.9, finalist_minutes=0.6)
        ratio = found["ratios"]["a"]["b"]
        wrong += not ratio["low"] <= 1 <= ratio["high"]
    # What 300 timings leave to chance is less than 0.04.
    assert wrong / 300 <= 0.14


def test_candidates_of_the_same_arithmetic_are_one_model(timed):
    found = timed({"a": 1.0, "twin": 5.0, "c": 2.0}, noise=0.002, same=("a", "twin"))
    assert found["candidates"]["twin"] == found["candidates"]["a"]
    assert found["ratios"]["a"]["twin"] == {"ratio": 1, "low": 1, "high": 1}
    assert found["ratios"]["twin"]["c"] == found["ratios"]["a"]["c"]


def test_one_finalist_is_timed_alone_and_none_takes_no_time(timed):
    found = timed({"a": 1.0}, noise=0.5)
    assert (found["processes"], found["stopped"], found["ratios"]) == (4, "ranked", {"a": {}})
    nothing = timed({})
    assert (nothing["candidates"], nothing["ratios"], nothing["processes"]) == ({}, {}, 0)
