"""Models are lowered as far as they mean the same, and no further."""

import numpy as np
import onnx
import pytest
from beansweep.models import onnx_session, onnx_versions
from onnx import TensorProto, helper, numpy_helper

IMAGE = np.random.default_rng(0).normal(size=(1, 2, 4, 4)).astype(np.float32)


def model_of(
    *nodes: onnx.NodeProto,
    constants=(),
    opset: int = 20,
    more=(),
    shape=(1, 2, 4, 4),
    type=TensorProto.FLOAT,
) -> onnx.ModelProto:
    """A model of some nodes from `image` to `result`, which has a shape and a type."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, IMAGE.shape)],
        [helper.make_tensor_value_info("result", type, shape)],
        [numpy_helper.from_array(array, name) for name, array in constants],
    )
    opsets = [helper.make_opsetid("", opset)]
    opsets += [helper.make_opsetid(domain, 1) for domain in more]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


RELU = model_of(helper.make_node("Relu", ["image"], ["result"]))
RESHAPE = model_of(
    helper.make_node("Reshape", ["image", "shape"], ["result"], allowzero=1),
    constants=[("shape", np.array([1, 32]))],
    shape=[1, 32],
)
MEAN = model_of(
    helper.make_node("ReduceMean", ["image", "axes"], ["result"]),
    constants=[("axes", np.array([2, 3]))],
    shape=[1, 2, 1, 1],
)
GELU = model_of(helper.make_node("Gelu", ["image"], ["result"]))
QUANTIZED = model_of(
    helper.make_node("QuantizeLinear", ["image", "scale"], ["bytes"], axis=1),
    helper.make_node("DequantizeLinear", ["bytes", "scale"], ["result"], axis=1),
    constants=[("scale", np.array([0.5, 0.25], np.float32))],
)
QUICK_GELU = model_of(
    helper.make_node("QuickGelu", ["image"], ["result"], domain="com.microsoft"),
    more=["com.microsoft"],
)


@pytest.mark.parametrize(
    ("model", "opset", "ir_version", "runtime"),
    [
        (RELU, 16, 8, "1.11"),
        (RESHAPE, 16, 8, "1.11"),
        (QUANTIZED, 16, 8, "1.11"),
        (MEAN, 18, 8, "1.14"),
        (GELU, 20, 9, "1.17"),
        (QUICK_GELU, 16, 8, "1.14"),
    ],
    ids=["Relu", "Reshape", "QuantizeLinear", "ReduceMean", "Gelu", "QuickGelu"],
)
def test_a_model_gets_the_lowest_versions_and_keeps_its_outputs(model, opset, ir_version, runtime):
    lowered = onnx.ModelProto.FromString(model.SerializeToString())
    onnx_versions.lower(lowered)
    onnx.checker.check_model(lowered, full_check=True)
    assert onnx_versions.opset(lowered) == opset
    assert lowered.ir_version == ir_version
    assert onnx_versions.oldest_runtime(lowered) == runtime
    before, after = (
        onnx_session.create(version.SerializeToString()).run(None, {"image": IMAGE})[0]
        for version in (model, lowered)
    )
    np.testing.assert_array_equal(before, after)


def test_a_default_that_changed_keeps_the_version_that_it_came_with():
    """The default mode of GridSample has another name from opset 20 on."""
    grid = np.zeros((1, 4, 4, 2), np.float32)
    node = helper.make_node("GridSample", ["image", "grid"], ["result"])
    model = model_of(node, constants=[("grid", grid)])
    onnx_versions.lower(model)
    assert onnx_versions.opset(model) == 20


def test_a_type_keeps_the_version_that_it_came_with():
    """Reshape of a type with 4 bits came with opset 21."""
    model = model_of(
        helper.make_node("Cast", ["image"], ["small"], to=TensorProto.INT4),
        helper.make_node("Reshape", ["small", "shape"], ["result"]),
        constants=[("shape", np.array([1, 32]))],
        opset=23,
        shape=[1, 32],
        type=TensorProto.INT4,
    )
    onnx_versions.lower(model)
    assert onnx_versions.opset(model) == 21


def test_a_node_within_a_node_counts():
    branch = helper.make_graph(
        [helper.make_node("Gelu", ["image"], ["inner"])],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, IMAGE.shape)],
    )
    model = model_of(
        helper.make_node("If", ["chosen"], ["result"], then_branch=branch, else_branch=branch),
        constants=[("chosen", np.array(True))],
    )
    onnx_versions.lower(model)
    assert onnx_versions.opset(model) == 20


def test_domains_that_no_node_is_of_are_left_out():
    model = model_of(
        helper.make_node("QuickGelu", ["image"], ["result"], domain="com.microsoft"),
        more=["ai.onnx.ml", "com.microsoft", "ai.onnx.preview.training"],
    )
    onnx_versions.lower(model)
    assert {entry.domain for entry in model.opset_import} == {"", "com.microsoft"}


def test_a_model_that_is_older_stays_as_it_is():
    model = model_of(helper.make_node("Relu", ["image"], ["result"]), opset=11)
    onnx_versions.lower(model)
    assert onnx_versions.opset(model) == 11
