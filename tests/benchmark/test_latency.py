"""A measurement of small models."""

import io
import shutil
from pathlib import Path

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


def test_a_file_under_two_names_is_timed_once(metadata_files, photographs, tmp_path):
    """A variant that equals its base is not faster than it; another way to run it may be."""
    int8 = files.read_json(metadata_files["int8"])
    metadata_files["int8_qat"] = tmp_path / "int8_qat.json"
    files.write_json(metadata_files["int8_qat"], {**int8, "recipe": {"quantizer": "qat"}})
    metadata_files["int8_other"] = tmp_path / "int8_other.json"
    session = {"session.disable_prepacking": "1"}
    files.write_json(metadata_files["int8_other"], {**int8, "session": session})
    for name in ("int8_qat", "int8_other"):
        metadata = files.read_json(metadata_files[name])
        model = shutil.copy(tmp_path / "int8.onnx", tmp_path / f"{name}.onnx")
        files.write_json(metadata_files[name], {**metadata, "model": Path(model).name})
    found = latency.measure(metadata_files, photographs, {**SETTINGS, "processes": 1}, iter)
    variants, by_threads = found["variants"], found["by_threads"]["1"]
    assert list(variants) == ["fp32", "int8", "int8_qat", "int8_other"]
    assert variants["int8_qat"] == variants["int8"]
    assert by_threads["int8_qat"] == by_threads["int8"]
    assert variants["int8_other"]["samples_ms"] != variants["int8"]["samples_ms"]
