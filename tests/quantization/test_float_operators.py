"""Operators of attention stay in float, and nothing there reads what was rounded for a layer."""

from pathlib import Path

import families
import numpy as np
import onnx_ir as ir
import pytest
import small_network
from beansweep.quantization import bias_correction, float_operators, onnx_graph, static
from beansweep.quantization.onnx_graph import constant, dequantizers, is_layer
from beansweep.quantization.sources import Sources
from test_families import case

OF_ATTENTION = ("attention", "hybrid", "patch convolution")
CONVOLUTIONAL = [name for name in families.FAMILIES if name not in (*OF_ATTENTION, "dense")]


@pytest.mark.parametrize("family", CONVOLUTIONAL)
def test_a_convolutional_network_has_none(family):
    assert float_operators.of(case(family).prepared.graph) == []


def test_a_normalisation_that_no_layer_took_in_stays_in_float_and_what_it_reads_does_not():
    graph = case("dense").prepared.graph
    names = float_operators.of(graph)
    kinds = {node.op_type for node in graph if node.name in names}
    assert kinds == {"BatchNormalization", "Relu"}


@pytest.mark.parametrize("family", OF_ATTENTION)
def test_what_stays_in_float_reads_no_bytes_of_a_product(family):
    names = float_operators.of(case(family).prepared.graph)
    kinds = {node.op_type for node in case(family).prepared.graph if node.name in names}
    assert {"Add", "LayerNormalization"} <= kinds
    graph = onnx_graph.from_proto(case(family).static.model).graph
    layers = [node for node in graph if node.op_type == "MatMul" and any(dequantizers(node))]
    assert layers
    for layer in layers:
        readers = layer.outputs[0].consumers()
        assert "QuantizeLinear" not in {reader.op_type for reader in readers}
    for node in graph:
        if node.op_type == "LayerNormalization":
            source = dequantizers(node)[0]
            # Bytes of a convolution may be read: its integer kernel puts out nothing else.
            made = source.inputs[0].producer().inputs[0].producer() if source else None
            assert made is None or made.op_type not in ("Add", "MatMul")


def test_products_of_two_activations_stay_in_float():
    graph = onnx_graph.from_proto(case("attention").static.model).graph
    products = [node for node in graph if node.op_type == "MatMul" and not any(dequantizers(node))]
    assert len(products) == 4


def test_a_bias_that_is_added_to_a_product_is_corrected():
    its = case("attention")
    model = onnx_graph.from_proto(its.static.model)
    product = next(node for node in model.graph if node.op_type == "MatMul")
    (addition,) = product.outputs[0].consumers()
    index = next(i for i, value in enumerate(addition.inputs) if constant(value) is not None)
    onnx_graph.own_constant(model.graph, addition, index)
    right = constant(addition.inputs[index]).copy()
    onnx_graph.set_constant(addition.inputs[index], right + np.float32(0.5))
    off = its.error(ir.to_proto(model))
    bias_correction.correct(its.prepared, model, its.inputs)
    # What is added to one layer's means is seen and undone in the next.
    assert its.error(ir.to_proto(model)) < off


def test_a_constant_that_others_read_is_copied_before_it_changes():
    model = case("attention").prepared.clone()
    layer = next(node for node in model.graph if is_layer(node) and node.op_type == "Conv")
    shared = layer.inputs[1]
    other = ir.node("Identity", [shared])
    model.graph.insert_before(layer, other)
    onnx_graph.own_constant(model.graph, layer, 1)
    assert layer.inputs[1] is not shared
    np.testing.assert_array_equal(constant(layer.inputs[1]), constant(shared))
    onnx_graph.own_constant(model.graph, layer, 1)
    assert other.inputs[0] is shared


def test_groups_that_read_few_channels_stay_in_float():
    its = case("grouped")
    convolutions = [node for node in its.prepared.graph if onnx_graph.groups(node) > 1]
    assert [constant(node.inputs[1]).shape[1] for node in convolutions] == [4, 2]
    few = {node.name for node in convolutions}
    assert set(float_operators.grouped_layers(its.prepared.graph)) == few
    graph = onnx_graph.from_proto(its.static.model).graph
    quantized = {layer.name for layer, _ in onnx_graph.quantized_layers(graph)}
    assert quantized and not few & quantized


def test_depthwise_layers_are_not_among_those():
    assert float_operators.grouped_layers(case("squeeze-excite").prepared.graph) == []


def test_histograms_leave_out_what_stays_in_float():
    its = case("attention")
    options = {"method": "percentile", "narrow_ranges": True}
    ranges = small_network.calibrate(its.prepared, its.inputs[:2], **options)
    products = [node for node in its.prepared.graph if node.op_type == "MatMul"]
    for node in products:
        assert (node.outputs[0].name in ranges.bounds()) == is_layer(node)
    recipe = {**its.static.recipe, "calibration": "percentile"}
    sources = Sources({"percentile": ranges}, Path(), {})
    sources.inputs = its.inputs
    assert its.error(static.quantize_once(its.prepared, recipe, sources, None)) < 0.25
