"""Which models take the same time."""

import numpy as np
import onnx
import pytest
from beansweep.benchmark import same_arithmetic
from beansweep.common import files
from onnx import TensorProto, helper, numpy_helper

METADATA = {"session": {}, "preprocessing": {"image_size": 4}, "recipe": {}}


def model(prefix="", relu="Relu", group=1, **constants) -> onnx.ModelProto:
    """An INT8 convolution and an activation; `prefix` is before every name.

    `constants` change what it has: weight, zero_point, scale, bias or shift.
    """
    values = {
        "weight": np.array([[[[3]]], [[[-5]]]], np.int8),
        "zero_point": np.zeros(2, np.int8),
        "scale": np.array([0.5, 0.25], np.float32),
        "bias": np.array([1, -7], np.int32),
        "bias_scale": np.array([0.5, 0.25], np.float32),
        "shift": np.array([1.5], np.float32),
    } | constants
    names = {name: prefix + name for name in (*values, "image", "w", "b", "y", "z", "logits")}

    def node(kind: str, inputs: list[str], output: str, **attributes) -> onnx.NodeProto:
        given = [names[name] for name in inputs]
        return helper.make_node(kind, given, [names[output]], prefix + output, **attributes)

    nodes = [
        node("DequantizeLinear", ["weight", "scale", "zero_point"], "w", axis=0),
        node("DequantizeLinear", ["bias", "bias_scale"], "b", axis=0),
        node("Conv", ["image", "w", "b"], "y", group=group),
        node(relu, ["y"], "z"),
        node("Add", ["z", "shift"], "logits"),
    ]
    graph = helper.make_graph(
        nodes,
        prefix + "graph",
        [helper.make_tensor_value_info(names["image"], TensorProto.FLOAT, [1, 1, 4, 4])],
        [helper.make_tensor_value_info(names["logits"], TensorProto.FLOAT, [1, 2, 4, 4])],
        [numpy_helper.from_array(value, names[name]) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


@pytest.fixture
def first_of_same(tmp_path):
    """A function that says which of some models is the first of the same arithmetic."""

    def find(models, metadata=()):
        metadata_files = {}
        for name, contents in models.items():
            onnx.save(contents, tmp_path / f"{name}.onnx")
            metadata_files[name] = tmp_path / f"{name}.json"
            files.write_json(metadata_files[name], METADATA | dict(metadata).get(name, {}))
        return same_arithmetic.first_of_same(metadata_files)

    return find


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"prefix": "other_"},
        {"weight": np.array([[[[4]]], [[[-5]]]], np.int8)},
        {"bias": np.array([1, -8], np.int32)},
    ],
)
def test_names_and_values_of_weights_and_biases_take_no_time(first_of_same, changes):
    assert first_of_same({"a": model(), "b": model(**changes)}) == {"a": "a", "b": "a"}


@pytest.mark.parametrize(
    "changes",
    [
        {"relu": "Sigmoid"},
        {"weight": np.array([[[[3]]], [[[5]]]], np.uint8), "zero_point": np.zeros(2, np.uint8)},
        {"weight": np.array([[[[3, 1]]], [[[-5, 1]]]], np.int8)},
        # A kernel may be for zero points of zero, or fuse nodes of one scale.
        {"zero_point": np.array([1, 1], np.int8)},
        {"scale": np.array([0.5, 0.5], np.float32)},
        {"shift": np.array([1e-40], np.float32)},
        {"group": 2},
    ],
)
def test_what_may_take_another_time_is_timed(first_of_same, changes):
    assert first_of_same({"a": model(), "b": model(**changes)}) == {"a": "a", "b": "b"}


def test_biases_in_float_take_no_time_either(first_of_same):
    models = {}
    for name, bias in (("a", [0.5, 1]), ("b", [0.25, 1]), ("c", [[[[0.5]], [[1]]]])):
        changed = model()
        graph = changed.graph
        del graph.node[1], graph.initializer[3]
        graph.initializer.append(numpy_helper.from_array(np.array(bias, np.float32), "b"))
        models[name] = changed
    assert first_of_same(models) == {"a": "a", "b": "a", "c": "c"}


def test_another_way_to_run_a_model_may_take_another_time(first_of_same):
    models = dict.fromkeys("abcd", model())
    metadata = {
        "b": {"recipe": {"quantizer": "qat"}},
        "c": {"session": {"session.disable_prepacking": "1"}},
        "d": {"preprocessing": {"image_size": 8}},
    }
    found = first_of_same(models, metadata)
    assert found == {"a": "a", "b": "a", "c": "c", "d": "d"}
