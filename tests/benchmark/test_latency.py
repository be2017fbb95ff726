"""Quantiles, and a measurement of two models beside each other."""

import io

import numpy as np
import pytest
from beansweep.benchmark import latency, machine
from beansweep.models import model_metadata
from onnx import TensorProto, helper, save
from PIL import Image

SETTINGS = {
    "threads": [1],
    "batch_size": 2,
    "processes": 2,
    "rounds": 3,
    "queries": 4,
    "warmup": 1,
    "seed": 0,
}
PREPROCESSING = {"image_size": 8, "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}


@pytest.fixture
def metadata_files(tmp_path):
    """Two tiny models with their metadata_files."""
    for name in ("fp32", "int8"):
        graph = helper.make_graph(
            [helper.make_node("Relu", ["image"], ["logits"])],
            name,
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 8, 8])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3, 8, 8])],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        save(model, tmp_path / f"{name}.onnx")
        model_metadata.write(
            tmp_path / f"{name}.json",
            tmp_path / f"{name}.onnx",
            labels=[],
            preprocessing=PREPROCESSING,
            session={},
            recipe={},
        )
    return {name: tmp_path / f"{name}.json" for name in ("fp32", "int8")}


@pytest.fixture
def photographs():
    found = []
    for shade in (30, 200):
        file = io.BytesIO()
        Image.new("RGB", (20, 12), (shade, 90, 10)).save(file, "PNG")
        found.append(file.getvalue())
    return found


def test_every_query_of_every_process_and_round_is_kept(metadata_files, photographs):
    result = latency.measure(metadata_files, photographs, SETTINGS, iter)
    assert set(result["controls"]) == {"fp32_again", "control_model"}
    for name, figures in result["variants"].items():
        assert np.shape(figures["samples_ms"]) == (2, 3, 4)
        assert np.shape(figures["end_to_end_samples_ms"]) == (2, 3, 1)
        assert figures["queries"] == 24
        assert 0 < figures["p50_ms"] <= figures["p90_ms"] <= figures["p95_ms"] <= figures["p99_ms"]
        assert figures["p50_low_ms"] <= figures["p50_high_ms"]
        assert figures["speedup_low"] <= figures["speedup"] <= figures["speedup_high"]
        assert figures["end_to_end_p50_ms"] > 0
        assert figures["load_ms"] > 0
        assert figures["first_query_ms"] > 0
        assert figures["peak_memory_mb"] > figures["model_memory_mb"] >= 0
        assert figures["megabytes"] == pytest.approx(
            metadata_files["fp32"].with_suffix(".onnx").stat().st_size / 1e6, rel=0.1
        )
        assert result["by_threads"] == {
            "1": {each: result["variants"][each]["p50_ms"] for each in metadata_files}
        }, name


def test_several_numbers_of_threads_are_each_timed(metadata_files, photographs):
    result = latency.measure(
        metadata_files, photographs, {**SETTINGS, "threads": [1, 2], "processes": 1}, iter
    )
    assert list(result["by_threads"]) == ["1", "2"]
    assert all(set(each) == set(metadata_files) for each in result["by_threads"].values())
    # One process says nothing of what another would have found.
    assert result["variants"]["int8"]["p50_low_ms"] is None
    assert result["variants"]["int8"]["speedup"] > 0


def test_quantiles_and_throughput_are_numpys():
    samples = np.random.default_rng(0).uniform(1, 3, (2, 5, 7))
    figures = latency.summarise(samples, samples, batch_size=4)
    assert figures["p95_ms"] == np.quantile(samples, 0.95)
    assert figures["images_per_second"] == pytest.approx(4000 / samples.mean())
    assert (figures["speedup_low"], figures["speedup"], figures["speedup_high"]) == (1, 1, 1)


def test_intervals_of_ratios_cover_whatever_a_process_does_to_all_its_queries():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        process = np.exp(rng.normal(0, 0.05, (2, 5, 1, 1)))
        slow, fast = process * rng.gamma(50, [[[[2 / 50]]], [[[1 / 50]]]], (2, 5, 8, 10))
        figures = latency.summarise(fast, slow, 1)
        covered += figures["speedup_low"] <= 2 <= figures["speedup_high"]
    assert 0.92 <= covered / 300 <= 0.98


def test_the_machine_is_described():
    found = machine.describe()
    assert found["instruction_set"]
    assert found["cores"] >= 1
    assert machine["onnxruntime"]
