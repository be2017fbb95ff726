"""A measurement of two models, and the figures that are made of its samples."""

import io

import numpy as np
import pytest
from beansweep.benchmark import latency
from beansweep.common import files
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
    """Two tiny models: variant -> metadata file."""
    result = {}
    for name in ("fp32", "int8"):
        graph = helper.make_graph(
            [helper.make_node("Relu", ["image"], ["logits"])],
            name,
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 8, 8])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3, 8, 8])],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        save(model, tmp_path / f"{name}.onnx")
        result[name] = tmp_path / f"{name}.json"
        model_metadata.write(
            result[name],
            tmp_path / f"{name}.onnx",
            labels=[],
            preprocessing=PREPROCESSING,
            session={},
            recipe={},
        )
    return result


@pytest.fixture
def photographs():
    """Bytes of two PNG files."""
    result = []
    for shade in (30, 200):
        file = io.BytesIO()
        Image.new("RGB", (20, 12), (shade, 90, 10)).save(file, "PNG")
        result.append(file.getvalue())
    return result


def test_every_query_of_every_process_and_round_is_kept(metadata_files, photographs):
    result = latency.measure(metadata_files, photographs, SETTINGS, iter)
    assert list(result["variants"]) == ["fp32", "int8"]
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
        assert result["by_threads"]["1"][name] == figures["p50_ms"]
    assert list(result["by_threads"]) == ["1"]
    assert list(result["by_threads"]["1"]) == list(metadata_files)


def test_each_thread_count_is_timed(metadata_files, photographs):
    settings = {**SETTINGS, "threads": [1, 2], "processes": 1}
    result = latency.measure(metadata_files, photographs, settings, iter)
    assert list(result["by_threads"]) == ["1", "2"]
    assert set(result["by_threads"]["1"]) == set(metadata_files)
    assert set(result["by_threads"]["2"]) == set(metadata_files)
    # One process alone does not show how much processes differ.
    assert result["variants"]["int8"]["p50_low_ms"] is None
    assert result["variants"]["int8"]["speedup"] > 0


def test_quantiles_and_throughput_are_numpys():
    samples = np.random.default_rng(0).uniform(1, 3, (2, 5, 7))
    figures = latency.summarise(samples, samples, batch_size=4)
    assert figures["p95_ms"] == np.quantile(samples, 0.95)
    assert figures["images_per_second"] == pytest.approx(4000 / samples.mean())
    assert (figures["speedup_low"], figures["speedup"], figures["speedup_high"]) == (1, 1, 1)


def test_percentiles_are_named_after_what_they_are_of():
    figures = latency.percentiles(np.array([1.0, 2.0, 3.0]), (50, 100), "end_to_end_")
    assert figures == {"end_to_end_p50_ms": 2.0, "end_to_end_p100_ms": 3.0}


def test_intervals_of_speedups_cover_what_a_process_does_to_all_its_queries():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        process = np.exp(rng.normal(0, 0.05, (2, 5, 1, 1)))
        slow, fast = process * rng.gamma(50, [[[[2 / 50]]], [[[1 / 50]]]], (2, 5, 8, 10))
        figures = latency.summarise(fast, slow, 1)
        covered += figures["speedup_low"] <= 2 <= figures["speedup_high"]
    assert 0.92 <= covered / 300 <= 0.98


def test_only_variants_that_are_available_are_timed(metadata_files, tmp_path):
    files.write_json(tmp_path / "int8_qat.json", {"unavailable": "no such operator"})
    found = latency.available([*metadata_files.values(), tmp_path / "int8_qat.json"])
    assert list(found) == ["fp32", "int8"]
