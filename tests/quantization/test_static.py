"""Static quantization: small, near to FP32, and the same in every kernel."""

import dataclasses

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import small_network
import torch
from beansweep.evaluation import metrics
from beansweep.models import onnx_session
from beansweep.quantization import activations, dynamic, onnx_graph, session_entries, static
from beansweep.quantization.not_applicable import NotApplicable
from small_network import CLASSES, RECIPE

pytest_plugins = ["trained_network"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A small network, prepared without integer rewrites, and its ranges."""
    folder = tmp_path_factory.mktemp("plain")
    torch.manual_seed(0)
    network = small_network.two_convolutions()
    small_network.export(network, 16, folder / "fp32.onnx")
    prepared = small_network.prepare(folder / "fp32.onnx")
    return prepared, small_network.calibrate(prepared, small_network.noise(24, 16))


PLAIN = {**RECIPE, "integer_rewrites": False, "reduce_range": False}


def kernels(model):
    """The INT8 weights of convolutions, by name."""
    found = {}
    for name, array in small_network.constants(model).items():
        if array.dtype == np.int8 and array.ndim == 4:
            found[name] = array
    return found


def test_static_quantization_of_a_trained_network_loses_little(prepared, reference, sources):
    predicted = reference.probabilities.argmax(axis=1)
    assert metrics.macro_f1(reference.true, predicted, CLASSES) > 0.85
    recipe = {**RECIPE, "rounding": "gptq", "bias_correction": "auto"}
    model, chosen, session = static.quantize(prepared, recipe, sources)
    score = reference.score(onnx_session.create(model.SerializeToString(), session))
    assert score["drop"] <= 0.02
    assert score["agreement"] >= 0.97
    assert len(chosen["trials"]) == 4
    best = min(chosen["trials"], key=lambda trial: trial["kl"])
    assert (chosen["calibration"], chosen["bias_correction"]) == (
        best["calibration"],
        best["bias_correction"],
    )
    assert score["kl"] == pytest.approx(best["kl"])
    for tensor in model.graph.initializer:
        assert tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) <= 1


@pytest.mark.integer_kernels
def test_choices_for_a_machine_that_computes_otherwise_are_made_in_float_kernels(
    prepared, reference, sources
):
    """8-bit weights saturate in kernels of AVX2: what this test is for runs on those."""
    reference = dataclasses.replace(reference, float_kernels=True)
    sources.validation = reference
    recipe = {**RECIPE, "rounding": "nearest", "bias_correction": "auto", "reduce_range": False}
    model, chosen, session = static.quantize(prepared, recipe, sources)
    in_float = onnx_session.create(model.SerializeToString(), session, float_kernels=True)
    assert min(trial["kl"] for trial in chosen["trials"]) == reference.score(in_float)["kl"]


@pytest.mark.integer_kernels
def test_integer_kernels_put_out_the_bytes_of_float_kernels(prepared, reference, sources):
    """In all layers, on every instruction set, with corrected biases and rounded weights too."""
    recipe = {**RECIPE, "rounding": "gptq", "bias_correction": True, "calibration": "minmax"}
    rounding = static.rounding_of(prepared, recipe, sources)
    model = ir.from_proto(static.quantize_once(prepared, recipe, sources, rounding))
    names = [node.outputs[0].name for node in model.graph if node.op_type == "QuantizeLinear"]
    assert len(names) >= 8
    images = small_network.normalised(reference.inputs)
    for integers, floats in zip(
        activations.of(model, names, images),
        activations.of(model, names, images, float_kernels=True),
        strict=True,
    ):
        for name in names:
            np.testing.assert_array_equal(integers[name], floats[name])


@pytest.mark.integer_kernels
def test_a_layer_left_in_float_is_not_quantized_on_loading(prepared, minmax):
    layers = onnx_graph.layers(prepared.graph)
    kept = list(layers)[2]
    model = small_network.quantize(prepared, minmax, RECIPE, layers[kept])
    assert session_entries.of(ir.to_proto(model)) == session_entries.KEEP_FLOAT
    images = small_network.normalised(small_network.pictures(8, seed=3)[0])
    exact = small_network.logits(model, images, float_kernels=True)
    found = small_network.logits(model, images, session_entries.KEEP_FLOAT)
    np.testing.assert_allclose(found, exact, atol=0.05 * np.ptp(exact))


def test_weights_are_int8_and_per_channel_and_repeat_byte_for_byte(plain):
    first, second = (small_network.quantize(*plain, PLAIN) for _ in range(2))
    assert small_network.saved(first) == small_network.saved(second)
    found, arrays = kernels(first), small_network.constants(first)
    assert len(found) == 2
    for name, kernel in found.items():
        assert arrays[f"{name.removesuffix('_quantized')}_scale"].shape == (len(kernel),)


def test_reduce_range_keeps_weights_within_seven_bits(plain):
    model = small_network.quantize(*plain, {**PLAIN, "reduce_range": True})
    for kernel in kernels(model).values():
        assert np.abs(kernel.astype(int)).max() <= 64


@pytest.mark.parametrize("kind", ["static", "dynamic"])
def test_what_onnxruntime_does_not_serve_is_a_reason_and_no_want_of_memory_is(
    plain, monkeypatch, kind
):
    prepared, ranges = plain
    module = {"static": static, "dynamic": dynamic}[kind]

    def make(error):
        def refuse(*_, **__):
            raise error

        monkeypatch.setattr(module, f"quantize_{kind}", refuse)
        if kind == "static":
            return static.quantize_with_onnxruntime(prepared, ranges, PLAIN, [])
        return dynamic.quantize(prepared, PLAIN, None)

    words = "ONNX Runtime's quantizer does not serve it: shared mode is not supported"
    with pytest.raises(NotApplicable, match=words):
        make(ValueError("shared mode is not supported"))
    with pytest.raises(RuntimeError, match="Failed to allocate memory"):
        make(RuntimeError("Failed to allocate memory for requested buffer"))
