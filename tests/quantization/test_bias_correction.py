"""Bias correction: means come back, on the steps of integer kernels."""

import numpy as np
import small_network
from beansweep.quantization import bias_correction, onnx_graph
from beansweep.quantization.onnx_graph import constant, producer
from small_network import RECIPE

pytest_plugins = ["trained_network"]


def test_bias_correction_brings_back_the_means(trained, prepared, minmax):
    images = small_network.normalised(small_network.pictures(48, seed=2)[0])
    expected = small_network.logits(trained / "fp32.onnx", images).mean(axis=0)
    model = small_network.quantize(prepared, minmax, RECIPE)
    layer = next(node for node in model.graph if node.op_type == "Conv")
    onnx_graph.set_constant(layer.inputs[2], constant(layer.inputs[2]) + np.float32(0.3))

    def shift():
        found = small_network.logits(model, images, float_kernels=True).mean(axis=0)
        return np.abs(found - expected).max()

    assert shift() > 0.1
    bias_correction.correct(prepared, model, images)
    assert shift() < 0.02


def test_bias_correction_keeps_to_the_steps_of_integer_kernels(prepared, minmax):
    model = small_network.quantize(prepared, minmax, RECIPE)
    images = small_network.normalised(small_network.pictures(16, seed=2)[0])
    bias_correction.correct(prepared, model, images)
    layers = [node for node in model.graph if node.op_type in ("Conv", "Gemm")]
    assert len(layers) == 4
    for layer in layers:
        step = 1.0
        for value in layer.inputs[:2]:
            step = step * constant(producer(value, "DequantizeLinear").inputs[1]).astype(float)
        steps = constant(layer.inputs[2]) / step
        np.testing.assert_allclose(steps, np.rint(steps), atol=0.01)
