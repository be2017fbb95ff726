"""Dynamic quantization: ranges found in every query."""

import numpy as np
import pytest
import small_network
from beansweep.quantization import dynamic

pytest_plugins = ["trained_network"]

RECIPE = {"quantizer": "dynamic", "per_channel": True, "reduce_range": True, "weight_type": "QInt8"}


def test_dynamic_quantization_follows_the_float_model(trained, prepared, reference, sources):
    model, recipe, session = dynamic.quantize(prepared, RECIPE, sources)
    assert (recipe, session) == (RECIPE, {})
    kinds = [node.op_type for node in model.graph.node]
    assert "ConvInteger" in kinds
    assert "Conv" not in kinds
    inputs = small_network.normalised(reference.inputs[:64])
    expected = small_network.logits(trained / "fp32.onnx", inputs)
    found = small_network.logits(model, inputs)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.97


@pytest.mark.integer_kernels
def test_seven_bit_weights_give_the_bytes_of_float_kernels(prepared, reference, sources):
    """So `predictions.same_in_float_kernels` may say so."""
    model, _, _ = dynamic.quantize(prepared, RECIPE, sources)
    for image in small_network.normalised(reference.inputs[:16]):
        found = small_network.logits(model, image[None])
        exact = small_network.logits(model, image[None], float_kernels=True)
        np.testing.assert_array_equal(found, exact)
