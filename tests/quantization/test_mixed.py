"""Mixed precision: as few layers in float as the bound asks for."""

import onnx_ir as ir
import pytest
import small_network
from beansweep.quantization import mixed, onnx_graph
from hypothesis import given
from hypothesis import strategies as st
from small_network import RECIPE

pytest_plugins = ["trained_network"]


def test_mixed_keeps_as_few_layers_in_float_as_the_bound_asks_for(prepared, minmax, sources):
    base = ir.to_proto(small_network.quantize(prepared, minmax, RECIPE))
    layers = list(onnx_graph.layers(prepared.graph))

    def quantized(max_accuracy_drop):
        recipe = {**RECIPE, "calibration": "minmax", "max_accuracy_drop": max_accuracy_drop}
        return mixed.quantize(prepared, recipe, sources, base, layers)

    model, recipe, _ = quantized(1)
    assert recipe["equals_base"]
    assert model.SerializeToString() == base.SerializeToString()
    # No drop is this small: all layers stay in float, and nothing is left of INT8.
    model, recipe, _ = quantized(-1)
    assert recipe["float_layers"] == layers
    assert recipe["drop"] == pytest.approx(0)
    assert "QuantizeLinear" not in {node.op_type for node in model.graph.node}


@given(st.integers(0, 70), st.data())
def test_the_fewest_are_found_with_each_number_tried_once(most, data):
    least = data.draw(st.integers(0, most))
    tried = []

    def suffices(count):
        tried.append(count)
        return count >= least

    assert mixed.fewest(most, suffices, "test") == least
    assert len(tried) == len(set(tried))
    assert max(tried) <= most
