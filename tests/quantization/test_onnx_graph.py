"""Graphs: files survive reading, and windows are what a convolution multiplies."""

import numpy as np
import onnx_ir as ir
import small_network
from beansweep.quantization import onnx_graph
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper
from small_network import RECIPE

pytest_plugins = ["trained_network"]


def test_a_model_that_is_read_and_written_is_the_same_file(trained, prepared, minmax, tmp_path):
    before = (trained / "prepared.onnx").read_bytes()
    assert small_network.saved(prepared) == before
    quantized = ir.to_proto(small_network.quantize(prepared, minmax, RECIPE))
    onnx_graph.save(quantized, tmp_path / "int8.onnx")
    again = onnx_graph.load(tmp_path / "int8.onnx")
    assert small_network.saved(again) == (tmp_path / "int8.onnx").read_bytes()


sizes = st.tuples(st.integers(1, 3), st.integers(1, 3))


@given(sizes, sizes, sizes, st.tuples(*[st.integers(0, 2)] * 4))
def test_windows_are_what_a_convolution_multiplies(kernel, strides, dilations, pads):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(1, 2, 9, 11)).astype(np.float32)
    weight = rng.normal(size=(3, 2, *kernel)).astype(np.float32)
    node = helper.make_node(
        "Conv", ["image", "weight"], ["logits"], strides=strides, dilations=dilations, pads=pads
    )
    model = small_network.graph_of([node], image.shape, [("weight", weight)])
    windows = onnx_graph.windows(image[0], kernel, pads, strides, dilations)
    found = np.einsum("cyxhw,ochw->oyx", windows, weight)
    np.testing.assert_allclose(found, small_network.logits(model, image)[0], atol=1e-4)
