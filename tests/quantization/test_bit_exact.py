"""Bit-exact networks: no sum depends on its order, and no processor computes otherwise."""

import numpy as np
import onnx_ir as ir
import pytest
import small_network
import torch
from beansweep.common import emulator
from beansweep.models import logits_process, model_metadata, onnx_session
from beansweep.quantization import exact_scales, onnx_graph
from beansweep.quantization.not_applicable import NotApplicable
from conftest import PROJECT
from small_network import PREPROCESSING, RECIPE
from torch import nn

EMULATOR = PROJECT / ".emulator"
EXACT = {**RECIPE, "bit_exact": True}
ACTIVATIONS = {"Hardswish": nn.Hardswish, "ReLU6": nn.ReLU6, "SiLU": nn.SiLU}


def network(activation, *last):
    """A network with a narrow first layer, and an activation after each."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, stride=2),
        activation(),
        nn.Conv2d(16, 16, 3, padding=1, groups=16),
        activation(),
        nn.Conv2d(16, 48, 1),
        activation(),
        *last,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(48, 4),
    )


def images(count):
    return small_network.normalised(small_network.pictures(count, seed=1)[0])


@pytest.fixture(params=ACTIVATIONS)
def quantized(request, tmp_path):
    """Bit-exact and not, of the same network: `ir.Model` each."""
    torch.manual_seed(0)
    small_network.export(network(ACTIVATIONS[request.param]), 16, tmp_path / "fp32.onnx")
    prepared = small_network.prepare(tmp_path / "fp32.onnx", images(8))
    ranges = small_network.calibrate(prepared, images(8), narrow_ranges=True)
    return [small_network.quantize(prepared, ranges, recipe) for recipe in (EXACT, RECIPE)]


def first_layer(model):
    """The first layer, its weights and biases, and what it reads and puts out for images."""
    layer = next(node for node in model.graph if node.op_type == "Conv")
    weight, bias = (onnx_graph.constant(value) for value in layer.inputs[1:])
    ends = [layer.inputs[0], layer.outputs[0]]
    image = {model.graph.inputs[0]: np.dtype(np.float32)}
    session = onnx_session.create(onnx_graph.part(model.graph, image, ends))
    found = [session.run(None, {"image": image[None]}) for image in images(16)]
    read, put_out = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    return layer, weight, bias, read, put_out


exact_in_float = pytest.mark.parametrize("quantized", ["Hardswish", "ReLU6"], indirect=True)


@exact_in_float
def test_a_sum_of_the_first_layer_is_exact_in_any_order(quantized):
    model, _ = quantized
    _, weight, bias, read, put_out = first_layer(model)
    assert weight.dtype == np.float32
    # The image is no further off than a quarter of one of its 256 levels.
    assert 0 < np.abs(read - images(16)).max() < 1 / (4 * 255 * 0.25)
    exactly = [torch.from_numpy(array.astype(np.float64)) for array in (read, weight, bias)]
    expected = nn.functional.conv2d(*exactly, padding=1, stride=2).numpy()
    np.testing.assert_array_equal(put_out, expected)
    # In floats, with the channels added in the reverse order.
    reverse = [torch.from_numpy(np.flip(array, 1).copy()) for array in (read, weight)]
    sums = nn.functional.conv2d(*reverse, torch.tensor(bias), padding=1, stride=2)
    np.testing.assert_array_equal(sums.numpy(), expected)


@pytest.mark.parametrize("quantized", ["SiLU"], indirect=True)
def test_a_curve_reads_bytes_alone(quantized):
    model, other = quantized
    for node in model.graph:
        if node.op_type in exact_scales.CURVES:
            assert onnx_graph.dequantizers(node)[0] is not None
    assert onnx_graph.quantized_layers(model.graph)[0][0].op_type == "Conv"
    logits = [small_network.logits(ir.to_proto(each), images(64)) for each in (model, other)]
    assert np.abs(logits[0] - logits[1]).max() < 0.1 * np.ptp(logits[1])


@exact_in_float
def test_a_first_layer_keeps_its_function(quantized):
    bit_exact_model, other = quantized
    *_, expected = first_layer(other)
    layer, *_, found = first_layer(bit_exact_model)
    scale = 4 / 3 if layer.successors()[0].op_type in ("HardSigmoid", "Mul") else 1
    assert np.abs(found / scale - expected).max() < 0.01 * np.abs(expected).max()
    logits = [small_network.logits(ir.to_proto(model), images(64)) for model in quantized]
    assert np.abs(logits[0] - logits[1]).max() < 0.1 * np.ptp(logits[1])


def test_a_network_that_sums_floats_cannot_be_bit_exact(tmp_path):
    small_network.export(network(nn.ReLU, nn.GroupNorm(4, 48)), 16, tmp_path / "fp32.onnx")
    prepared = small_network.prepare(tmp_path / "fp32.onnx", images(8))
    ranges = small_network.calibrate(prepared, images(8), narrow_ranges=True)
    with pytest.raises(NotApplicable, match=r"bit_exact: true does not serve .*Normalization"):
        small_network.quantize(prepared, ranges, EXACT)


@pytest.mark.skipif(not (EMULATOR / emulator.READY).exists(), reason="no emulator: make arm")
@pytest.mark.parametrize("processor", ["cortex-a53", "cortex-a76", "Haswell"])
def test_logits_are_the_same_on_every_processor(quantized, tmp_path, processor):
    path, metadata = tmp_path / "int8.onnx", tmp_path / "int8.json"
    onnx_graph.save(ir.to_proto(quantized[0]), path)
    about = {"preprocessing": PREPROCESSING, "session": {}, "recipe": {}}
    model_metadata.write(metadata, path, labels=["a", "b", "c", "d"], **about)
    session, _ = onnx_session.load(metadata)
    python = emulator.python(EMULATOR, processor)
    with logits_process.opened(python, metadata, 4) as logits:
        for image in images(32):
            expected = onnx_session.logits(session, image[None])
            np.testing.assert_array_equal(logits(image[None]), expected)
