"""A variant is written, or written down as one that the backbone cannot have."""

import onnx
import pytest
from beansweep.common import files
from beansweep.models import model_metadata
from beansweep.quantization import quantized
from beansweep.quantization.not_applicable import NotApplicable
from onnx import TensorProto, helper

ORIGIN = {
    "labels": ["bad", "good"],
    "preprocessing": {"image_size": 8, "mean": [0.5] * 3, "std": [0.5] * 3},
}
RECIPE = {"quantizer": "qat", "base": "int8_static"}


def write(folder, quantize):
    model, metadata = folder / "int8_qat.onnx", folder / "int8_qat.json"
    quantized.write(quantize, RECIPE, model, metadata, ORIGIN, "AVX2")
    return model, metadata


def unavailable():
    raise NotApplicable("training does not know Einsum")


def test_a_model_has_the_recipe_that_it_was_made_with(tmp_path):
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([], "graph", [value], [value])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    made = quantized.Quantized(proto, {**RECIPE, "chosen_epoch": 1}, {"key": "value"})
    model, metadata = write(tmp_path, lambda: made)
    assert onnx.load(model) == proto
    _, contents = model_metadata.read(metadata)
    assert (contents["recipe"]["chosen_epoch"], contents["session"]) == (1, {"key": "value"})
    assert model_metadata.unavailable(metadata) is None


def test_what_a_backbone_cannot_have_is_an_empty_file_and_a_reason(tmp_path):
    model, metadata = write(tmp_path, unavailable)
    assert model.read_bytes() == b""
    assert model_metadata.unavailable(metadata) == "training does not know Einsum"
    assert model_metadata.read(metadata)[1]["recipe"] == RECIPE


def test_another_failure_leaves_nothing_behind(tmp_path):
    with pytest.raises(KeyError):
        write(tmp_path, lambda: {}["missing"])
    assert list(tmp_path.iterdir()) == []


def test_what_starts_from_an_unavailable_variant_is_unavailable_too(tmp_path):
    _, metadata = write(tmp_path, unavailable)
    with pytest.raises(NotApplicable, match=r"int8_qat, which is not available \(.*Einsum\)"):
        quantized.read_base(metadata)
    files.write_json(metadata, files.read_json(metadata) | {"unavailable": None})
    assert quantized.read_base(metadata)[1]["labels"] == ["bad", "good"]
