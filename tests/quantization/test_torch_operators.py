"""Operators in torch: each computes what ONNX Runtime computes."""

import numpy as np
import pytest
import small_network
import torch
from beansweep.quantization import torch_operators
from beansweep.quantization.fake_quantization import Network
from onnx import helper
from small_network import graph_of

SHAPE = [2, 4, 6, 6]


def whole(*numbers):
    return np.array(numbers, np.int64)


def values(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# Kind of operator, the constants that it reads after the image, and its attributes.
CASES = [
    ("Abs", [], {}),
    ("Add", [values(4, 1, 1)], {}),
    ("AveragePool", [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ("AveragePool", [], {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]}),
    ("AveragePool", [], {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1], "count_include_pad": 1}),
    ("AveragePool", [], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    ("BatchNormalization", [values(4), values(4), values(4), values(4) ** 2 + 1], {}),
    ("Clip", [np.float32(-0.5), np.float32(0.5)], {}),
    ("Clip", [np.float32(-0.5)], {}),
    ("Conv", [values(8, 2, 3, 3), values(8)], {"group": 2, "pads": [0, 1, 1, 0]}),
    ("Conv", [values(8, 4, 3, 3)], {"dilations": [2, 2], "pads": [2, 2, 2, 2], "strides": [2, 1]}),
    ("CumSum", [np.int64(2)], {}),
    ("DepthToSpace", [], {"blocksize": 2, "mode": "CRD"}),
    ("Div", [values(6) + 5], {}),
    ("Elu", [], {"alpha": 0.5}),
    ("Erf", [], {}),
    ("Expand", [whole(3, 1, 4, 1, 1)], {}),
    ("Flatten", [], {"axis": 2}),
    ("Gather", [whole(2, 0, -1)], {"axis": 1}),
    ("Gather", [whole(1)[0]], {"axis": -1}),
    ("Gelu", [], {}),
    ("Gelu", [], {"approximate": "tanh"}),
    ("GlobalAveragePool", [], {}),
    ("GlobalMaxPool", [], {}),
    ("HardSigmoid", [], {"alpha": 0.3}),
    ("HardSwish", [], {}),
    ("InstanceNormalization", [values(4), values(4)], {}),
    ("LayerNormalization", [values(6), values(6)], {"axis": -1, "epsilon": 1e-6}),
    ("LayerNormalization", [values(6, 6)], {"axis": 2}),
    ("LeakyRelu", [], {"alpha": 0.2}),
    ("LpNormalization", [], {"axis": 1}),
    ("MatMul", [values(6, 5)], {}),
    ("MaxPool", [], {"kernel_shape": [3, 3], "pads": [1, 0, 1, 1], "strides": [2, 2]}),
    ("MaxPool", [], {"kernel_shape": [2, 2], "dilations": [2, 2]}),
    ("Mish", [], {}),
    ("Pad", [whole(0, 0, 1, 2, 0, 0, 0, 1), np.float32(0.5)], {}),
    ("Pad", [whole(0, 0, 1, 2, 0, 0, 0, 1)], {"mode": "reflect"}),
    ("PRelu", [values(4, 1, 1)], {}),
    ("Pow", [np.float32(2)], {}),
    ("ReduceL2", [whole(2, 3)], {}),
    ("ReduceMax", [whole(1)], {"keepdims": 0}),
    ("ReduceMean", [whole(-1)], {}),
    ("ReduceMean", [], {}),
    ("ReduceSum", [whole(1, 2)], {"keepdims": 0}),
    ("Reshape", [whole(0, -1, 3)], {}),
    ("Resize", ["", np.float32([1, 1, 2, 2])], {"mode": "linear"}),
    ("Resize", ["", "", whole(2, 4, 9, 7)], {"mode": "linear"}),
    (
        "Resize",
        ["", np.float32([1, 1, 2, 2])],
        {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    ),
    ("Sigmoid", [], {}),
    ("Slice", [whole(1, -3), whole(2**62, -1), whole(1, 3), whole(2, 1)], {}),
    ("Slice", [whole(-1), whole(-(2**62)), whole(2), whole(-1)], {}),
    ("Slice", [whole(1), whole(2)], {}),
    ("Softmax", [], {"axis": 1}),
    ("Softplus", [], {}),
    ("Softsign", [], {}),
    ("Sub", [values(1)], {}),
    ("Tanh", [], {}),
    ("Tile", [whole(1, 2, 1, 3)], {}),
    ("Transpose", [], {"perm": [0, 2, 3, 1]}),
    ("Transpose", [], {}),
    ("Unsqueeze", [whole(-1, 0)], {}),
]


@pytest.mark.parametrize(("kind", "constants", "attributes"), CASES)
def test_an_operator_computes_what_onnx_runtime_computes(kind, constants, attributes):
    names, arrays = ["image"], []
    for index, array in enumerate(constants):
        names.append("" if isinstance(array, str) else f"c{index}")
        if not isinstance(array, str):
            arrays.append((f"c{index}", np.asarray(array)))
    model = graph_of([helper.make_node(kind, names, ["logits"], **attributes)], SHAPE, arrays)
    image = values(*SHAPE, seed=0)
    with torch.no_grad():
        found = Network(model)(torch.from_numpy(image)).numpy()
    expected = small_network.logits(model, image)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["AveragePool", "MaxPool"])
@pytest.mark.parametrize("axes", [1, 3])
def test_pooling_along_one_axis_and_along_three(kind, axes):
    """A plain 2-d pooling of torch takes [n, channels, length] for one image, and says nothing."""
    shape = {1: [2, 6, 16], 3: [2, 6, 4, 2, 2]}[axes]
    options = {"kernel_shape": [2] * axes, "strides": [2] * axes}
    nodes = [
        helper.make_node("Reshape", ["image", "shape"], ["rows"]),
        helper.make_node(kind, ["rows"], ["logits"], **options),
    ]
    model = graph_of(nodes, [2, 6, 4, 4], [("shape", whole(*shape))])
    image = values(2, 6, 4, 4)
    found = Network(model)(torch.from_numpy(image)).detach().numpy()
    np.testing.assert_allclose(found, small_network.logits(model, image), atol=1e-5)


def test_parts_of_a_split_and_shapes_as_numbers_go_on():
    """An attention as exporters write it: split, shape arithmetic and products of activations."""
    nodes = [
        helper.make_node("Shape", ["image"], ["batch"], end=1),
        helper.make_node("Concat", ["batch", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["image", "shape"], ["rows"]),
        helper.make_node("Split", ["rows"], ["query", "key", "value"], axis=1, num_outputs=3),
        helper.make_node("Transpose", ["key"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["query", "turned"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["weights"]),
        helper.make_node("MatMul", ["weights", "value"], ["logits"]),
    ]
    model = graph_of(nodes, [2, 6, 4, 4], [("rest", whole(6, 16))])
    image = values(2, 6, 4, 4)
    found = Network(model)(torch.from_numpy(image)).detach().numpy()
    np.testing.assert_allclose(found, small_network.logits(model, image), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "attributes", "name"),
    [
        ("NonMaxSuppression", {}, "NonMaxSuppression"),
        ("Conv", {"auto_pad": "SAME_UPPER"}, "Conv with auto_pad"),
        ("Resize", {"mode": "cubic"}, "Resize"),
        ("Gemm", {"transA": 1}, "Gemm with transA"),
    ],
)
def test_what_is_not_known_is_named(kind, attributes, name):
    with pytest.raises(torch_operators.Unknown, match=name):
        torch_operators.of(kind, attributes)
