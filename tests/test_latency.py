"""Quantiles, and a measurement of two models beside each other."""

import numpy as np
import pytest
from beansweep import latency, runtime
from onnx import TensorProto, helper, save

SETTINGS = {"threads": 1, "batch_size": 2, "processes": 2, "rounds": 3, "queries": 4, "warmup": 1, "seed": 0}


@pytest.fixture
def cards(tmp_path):
    """Two tiny models with their cards."""
    for name in ("fp32", "int8"):
        graph = helper.make_graph(
            [helper.make_node("Relu", ["image"], ["logits"])], name,
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 8, 8])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3, 8, 8])])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        save(model, tmp_path / f"{name}.onnx")
        runtime.write_card(tmp_path / f"{name}.json", tmp_path / f"{name}.onnx", labels=[], preprocessing={},
                           session={}, recipe={})
    return {name: tmp_path / f"{name}.json" for name in ("fp32", "int8")}


def test_every_query_of_every_process_and_round_is_kept(cards):
    result = latency.measure(cards, np.zeros((5, 3, 8, 8), np.float32), SETTINGS, iter)
    for figures in result.values():
        assert np.shape(figures["samples_ms"]) == (2, 3, 4)
        assert figures["queries"] == 24
        assert 0 < figures["p50_ms"] <= figures["p90_ms"] <= figures["p95_ms"] <= figures["p99_ms"]
        assert figures["load_ms"] > 0
        assert figures["peak_memory_mb"] > figures["model_memory_mb"] >= 0
        assert figures["megabytes"] == pytest.approx(cards["fp32"].with_suffix(".onnx").stat().st_size / 1e6, rel=0.1)


def test_quantiles_and_throughput_are_numpys():
    samples = np.random.default_rng(0).uniform(1, 3, (2, 5, 7))
    figures = latency.summarise(samples, batch_size=4)
    assert figures["p95_ms"] == np.quantile(samples, 0.95)
    assert figures["beans_per_second"] == pytest.approx(4000 / samples.mean())


def test_the_machine_is_described():
    machine = latency.machine()
    assert machine["instruction_set"]
    assert machine["cores"] >= 1
    assert machine["onnxruntime"]
