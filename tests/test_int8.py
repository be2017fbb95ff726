"""INT8 beyond ranges: biases, kernels, sensitivity, choosing, and the explanation."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import export_fp32
import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from beansweep import (
    activations,
    bias_correction,
    diagnosis,
    fidelity,
    files,
    instruction_sets,
    metrics,
    preprocess,
    quantization,
    runtime,
    search,
    sensitivity,
    weight_rounding,
)
from conftest import kernels_saturate
from onnx import numpy_helper
from PIL import Image
from torch import nn

RECIPE = {"quantizer": "static", "rewrites": True, "per_channel": True, "reduce_range": True, "weight_type": "QInt8",
          "activation_type": "QUInt8", "rounding": "nearest", "bias_correction": False}
PREPROCESSING = {"image_size": 16, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
CLASSES = 4


def pictures(count, seed):
    """Squares of a class's colour on noise: uint8 [n, 16, 16, 3], and the classes."""
    rng = np.random.default_rng(seed)
    true = np.arange(count) % CLASSES
    pixels = rng.integers(60, 196, (count, 16, 16, 3))
    for image, label in zip(pixels, true, strict=True):
        row, column = rng.integers(0, 9, 2)
        image[row:row + 7, column:column + 7] += (np.array([(60, 0, 0), (0, 60, 0), (0, 0, 60), (40, 40, 0)])[label])
    return pixels.clip(0, 255).astype(np.uint8), true


def normalised(pixels):
    return (pixels.transpose(0, 3, 1, 2) / 255 - 0.5).astype(np.float32) / 0.25


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a small trained network as fp32.onnx, prepared.onnx and ranges rewritten-*.json.

    Made in a process of its own: QEMU emulates only the process that it starts, and takes half an hour to train.
    """
    folder = tmp_path_factory.mktemp("trained")
    # For the tests that train on in this process, which have to repeat themselves.
    torch.set_num_threads(1)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(train, folder).result()
    return folder


def train(folder):
    """Train the network of `trained`."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.Hardswish(),
        nn.Conv2d(12, 12, 3, padding=1, groups=12), nn.BatchNorm2d(12), nn.ReLU(),
        nn.Conv2d(12, 24, 1), nn.BatchNorm2d(24), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(24, CLASSES))
    pixels, true = pictures(512, seed=0)
    inputs, labels = torch.from_numpy(normalised(pixels)), torch.from_numpy(true)
    optimiser = torch.optim.AdamW(network.parameters(), 0.01)
    for _ in range(25):
        for batch in torch.randperm(len(inputs)).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(inputs[batch]), labels[batch]).backward()
            optimiser.step()
    export_fp32.export(network.eval(), 16, folder / "fp32.onnx")
    quantization.prepare(folder / "fp32.onnx", folder / "prepared.onnx", normalised(pixels[:32]))
    for method in ("minmax", "percentile"):
        quantization.calibrate(folder / "prepared.onnx", method, normalised(pixels[:64])[:, None], [],
                               folder / f"rewritten-{method}.json", narrow=True)


@pytest.fixture(scope="module")
def reference(trained):
    pixels, true = pictures(400, seed=1)
    logits = runtime.logits(runtime.session(trained / "fp32.onnx"), normalised(pixels))
    return fidelity.Reference(pixels, PREPROCESSING, preprocess.softmax(logits), true)


@pytest.fixture(scope="module")
def samples(trained, reference):
    """Some of the images as files, and a calibration that names them."""
    for index, image in enumerate(reference.inputs[:32]):
        Image.fromarray(image).save(trained / f"{index}.png")
    ranges = files.read_json(trained / "rewritten-minmax.json")
    files.write_json(trained / "rewritten-minmax.json", {**ranges, "images": [f"{index}.png" for index in range(32)]})
    return search.Samples(trained / "prepared.onnx", trained / "rewritten-minmax.json", trained, PREPROCESSING)


def test_static_quantization_of_a_trained_network_loses_little(trained, reference, samples, tmp_path):
    assert metrics.macro_f1(reference.true, reference.probabilities.argmax(axis=1), CLASSES) > 0.85
    calibrations = {name: trained / f"rewritten-{name}.json" for name in ("minmax", "percentile")}
    recipe = {**RECIPE, "rounding": "gptq", "bias_correction": "auto"}
    chosen = search.static(calibrations, recipe, samples, reference, tmp_path / "int8.onnx", iter)
    score = reference.score(runtime.session(tmp_path / "int8.onnx"))
    assert score["loss"] <= 0.02
    assert score["agreement"] >= 0.97
    assert len(chosen["trials"]) == 4
    best = min(chosen["trials"], key=lambda trial: trial["kl"])
    assert (chosen["calibration"], chosen["bias_correction"]) == (best["calibration"], best["bias_correction"])
    assert score["kl"] == pytest.approx(best["kl"])
    weights = sum(tensor.ByteSize() for tensor in onnx.load(tmp_path / "int8.onnx").graph.initializer
                  if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) > 1)
    assert weights == 0


@pytest.mark.integer_kernels
def test_integer_kernels_put_out_the_bytes_of_float_kernels(trained, reference, samples, tmp_path):
    """In all layers, whatever this machine's instruction set, with corrected biases and rounded weights too."""
    recipe = {**RECIPE, "rounding": "gptq", "bias_correction": True}
    search.quantize(samples.calibration, recipe, samples, tmp_path / "int8.onnx")
    model = onnx.load(tmp_path / "int8.onnx")
    layers = [node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert len(layers) >= 8
    images = normalised(reference.inputs)
    for integers, floats in zip(activations.of(model, layers, images),
                                activations.of(model, layers, images, float_kernels=True), strict=True):
        for name in layers:
            np.testing.assert_array_equal(integers[name], floats[name])


def test_bias_correction_brings_back_the_means(trained, tmp_path):
    images = normalised(pictures(48, seed=2)[0])
    quantization.quantize(trained / "prepared.onnx", trained / "rewritten-minmax.json", RECIPE, tmp_path / "int8.onnx")
    model = onnx.load(tmp_path / "int8.onnx")
    layer = next(node for node in model.graph.node if node.op_type == "Conv")
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == layer.input[2])
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + 0.3, bias.name))
    onnx.save(model, tmp_path / "shifted.onnx")
    bias_correction.correct(trained / "prepared.onnx", tmp_path / "shifted.onnx", images, tmp_path / "corrected.onnx")
    expected = runtime.logits(runtime.session(trained / "fp32.onnx"), images).mean(axis=0)

    def shift(name):
        return np.abs(runtime.logits(runtime.session(tmp_path / name, float_kernels=True), images).mean(axis=0)
                      - expected).max()

    assert shift("shifted.onnx") > 0.1
    assert shift("corrected.onnx") < 0.02


def test_bias_correction_keeps_to_the_steps_of_integer_kernels(trained, tmp_path):
    quantization.quantize(trained / "prepared.onnx", trained / "rewritten-minmax.json", RECIPE, tmp_path / "int8.onnx")
    images = normalised(pictures(16, seed=2)[0])
    bias_correction.correct(trained / "prepared.onnx", tmp_path / "int8.onnx", images, tmp_path / "corrected.onnx")
    model = onnx.load(tmp_path / "corrected.onnx")
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    restored = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    for layer in layers:
        scales = [constants[restored[name].input[1]].astype(float) for name in layer.input[:2]]
        steps = constants[layer.input[2]] / (scales[0] * scales[1])
        np.testing.assert_allclose(steps, np.rint(steps), atol=0.01)


def test_gptq_rounding_keeps_outputs_nearer_than_nearest_and_moves_no_weight_far(trained, tmp_path):
    """By the measure that it goes by, for every layer: the mean square error of its outputs."""
    images = normalised(pictures(64, seed=4)[0])
    prepared = trained / "prepared.onnx"
    moments = weight_rounding.second_moments(prepared, images)
    quantization.quantize(prepared, trained / "rewritten-minmax.json", {**RECIPE, "reduce_range": True},
                          tmp_path / "nearest.onnx")
    weight_rounding.Rounding(prepared, images).apply(tmp_path / "nearest.onnx", tmp_path / "gptq.onnx")
    exact = layer_weights(prepared)
    nearest, gptq = (layer_weights(tmp_path / f"{name}.onnx") for name in ("nearest", "gptq"))
    assert set(moments) == set(exact) == set(gptq)
    errors = {}
    for name, second in moments.items():
        errors[name] = [np.einsum("god,gde,goe->", error, second, error) for error in (
            (each[name] - exact[name]).reshape(len(second), -1, second.shape[-1]) for each in (nearest, gptq))]
        assert np.abs(gptq[name] - exact[name]).max() < 8 * np.abs(nearest[name] - exact[name]).max()
    assert sum(gptq for _, gptq in errors.values()) < 0.7 * sum(nearest for nearest, _ in errors.values())


def layer_weights(path):
    """Weights of each layer as they are multiplied, one row an output."""
    model = onnx.load(path)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    restored = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    found = {}
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            if node.input[1] in constants:
                found[node.name] = constants[node.input[1]]
                continue
            stored, scale, _ = (constants[name] for name in restored[node.input[1]].input)
            found[node.name] = stored * scale.reshape(-1, *[1] * (stored.ndim - 1))
    return found


def test_weights_in_int8_compute_as_floats_with_their_session_option(trained, reference, tmp_path):
    quantization.store_weights(trained / "fp32.onnx", tmp_path / "weights.onnx")
    card = tmp_path / "weights.json"
    runtime.write_card(card, tmp_path / "weights.onnx", labels=list("abcd"), preprocessing=PREPROCESSING,
                       session=quantization.FOLD_WEIGHTS, recipe={"quantizer": "weights"})
    session, contents = runtime.load(card)
    assert contents["session"] == quantization.FOLD_WEIGHTS
    assert reference.score(session)["agreement"] >= 0.98
    stored = [tensor for tensor in onnx.load(tmp_path / "weights.onnx").graph.initializer
              if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) > 1]
    assert not stored


def test_mixed_keeps_as_few_layers_in_float_as_the_bound_asks_for(trained, reference, samples, tmp_path):
    prepared, ranges = trained / "prepared.onnx", trained / "rewritten-minmax.json"
    quantization.quantize(prepared, ranges, RECIPE, tmp_path / "base.onnx")
    layers = list(quantization.layers(prepared))

    def mixed(max_loss):
        return search.mixed(RECIPE, samples, reference, max_loss, layers, tmp_path / "base.onnx",
                            tmp_path / "mixed.onnx", iter)

    assert mixed(1)["equals_base"]
    assert (tmp_path / "mixed.onnx").read_bytes() == (tmp_path / "base.onnx").read_bytes()
    # No loss is this small: all layers stay in float, and nothing is left of INT8.
    outcome = mixed(-1)
    assert outcome["float_layers"] == layers
    assert outcome["loss"] == pytest.approx(0)
    assert "QuantizeLinear" not in {node.op_type for node in onnx.load(tmp_path / "mixed.onnx").graph.node}


@pytest.mark.integer_kernels
def test_a_layer_left_in_float_is_not_quantized_on_loading(trained, tmp_path):
    prepared, ranges = trained / "prepared.onnx", trained / "rewritten-minmax.json"
    layers = quantization.layers(prepared)
    kept = list(layers)[2]
    quantization.quantize(prepared, ranges, RECIPE, tmp_path / "int8.onnx", skip=layers[kept])
    images = normalised(pictures(8, seed=3)[0])
    exact = runtime.logits(runtime.session(tmp_path / "int8.onnx", float_kernels=True), images)
    found = runtime.logits(runtime.session(tmp_path / "int8.onnx", quantization.KEEP_FLOAT), images)
    np.testing.assert_allclose(found, exact, atol=0.05 * np.ptp(exact))


@pytest.mark.integer_kernels
@pytest.mark.parametrize(("reads", "writes"), [(0, []), (-1, [-2])])
def test_sensitivity_names_every_layer_and_puts_a_bad_range_first(trained, reference, tmp_path, reads, writes):
    """Of what a layer reads: it hurts this layer, and as much the one that puts it out, if it is not the image."""
    prepared, ranges = trained / "prepared.onnx", trained / "rewritten-minmax.json"
    quantization.quantize(prepared, ranges, RECIPE, tmp_path / "int8.onnx")
    layers = list(quantization.layers(prepared))
    worst = layers[reads]
    read = next(node.input[0] for node in onnx.load(prepared).graph.node if node.name == worst)
    bounds = quantization.bounds(ranges)
    bounds[read] = (bounds[read][0], bounds[read][1] / 50)
    few = fidelity.Reference(reference.inputs[:16], PREPROCESSING, reference.probabilities[:16])
    table = sensitivity.table(prepared, tmp_path / "int8.onnx", bounds, few, normalised(few.inputs), iter)
    assert set(table["layer"]) == set(layers)
    assert table["kl"].is_monotonic_decreasing
    hurt = {worst, *(layers[index] for index in writes)}
    assert set(table["layer"][:len(hurt)]) == hurt
    assert table["kl"].iloc[len(hurt)] < 0.01 * table["kl"].iloc[len(hurt) - 1]
    reader = table[table["layer"] == worst]
    assert reader["clipped"].item() > 0.2
    assert "clip" in diagnosis.finding({"kernel_agreement": 1, "quantization_agreement": 0.5}, RECIPE, "AVX2", reader)


@pytest.mark.integer_kernels
def test_sensitivity_is_what_the_quantizer_does_to_a_layer_alone(trained, reference, tmp_path):
    """Against ONNX Runtime's own quantization of one layer at a time, in integer kernels."""
    prepared, ranges = trained / "prepared.onnx", trained / "rewritten-minmax.json"
    quantization.quantize(prepared, ranges, RECIPE, tmp_path / "int8.onnx")
    table = sensitivity.table(prepared, tmp_path / "int8.onnx", quantization.bounds(ranges), reference,
                              normalised(reference.inputs[:16]), iter).set_index("layer")["kl"]
    alone = {}
    for layer, nodes in quantization.layers(prepared).items():
        quantization.quantize(prepared, ranges, RECIPE, tmp_path / "alone.onnx", only=nodes)
        alone[layer] = reference.score(runtime.session(tmp_path / "alone.onnx", quantization.KEEP_FLOAT))["kl"]
    assert list(table.index) == sorted(alone, key=alone.get, reverse=True)
    # Alone, a layer's scales are a percent smaller or larger than beside others (`beansweep.ties`), and
    # what that does to its rounding moves so small a divergence by half.
    np.testing.assert_allclose(np.log(table), np.log([alone[layer] for layer in table.index]), atol=np.log(2.5))


@pytest.fixture
def saturating(tmp_path):
    """A dense layer whose inputs and weights are all as large as they can be, prepared and calibrated."""
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.no_grad():
        for layer in (network[0], network[2]):
            layer.weight.fill_(1)
            layer.bias.zero_()
        network[2].weight[2:] = -1
    export_fp32.export(network.eval(), 8, tmp_path / "fp32.onnx")
    quantization.prepare(tmp_path / "fp32.onnx", tmp_path / "prepared.onnx")
    images = np.random.default_rng(0).uniform(0.9, 1, (8, 3, 8, 8)).astype(np.float32)
    quantization.calibrate(tmp_path / "prepared.onnx", "minmax", images[:, None], [], tmp_path / "ranges.json")
    return tmp_path, images


@pytest.mark.integer_kernels
@pytest.mark.parametrize("reduce_range", [False, True])
def test_kernel_error_is_seen_on_a_saturating_layer(saturating, reduce_range):
    folder, images = saturating
    recipe = {**RECIPE, "rewrites": False, "reduce_range": reduce_range}
    quantization.quantize(folder / "prepared.onnx", folder / "ranges.json", recipe, folder / "int8.onnx")
    shares = sensitivity.saturating_share(folder / "int8.onnx", images)
    # Pairs of 255 * 127 overflow 16 bits; pairs of 255 * 64 do not. The image's third channel has no partner.
    assert list(shares.values()) == ([0, 0] if reduce_range else [0.5, 1])
    found, exact = (runtime.logits(runtime.session(folder / "int8.onnx", float_kernels=floats), images)
                    for floats in (False, True))
    error = np.abs(found - exact).max() / np.abs(exact).max()
    if not reduce_range and kernels_saturate():
        assert error > 0.2
    else:
        assert error < 0.02


def test_the_processors_flags_tell_whether_its_kernels_saturate():
    """Not under an emulator, which shows the flags of the machine that it runs on."""
    assert instruction_sets.saturates(instruction_sets.detect()) == kernels_saturate()


def test_loss_is_split_in_two_and_explained():
    true = ["a", "b"] * 500

    def predicted(wrong):
        names = [("b" if name == "a" else "a") if index < wrong else name for index, name in enumerate(true)]
        return pd.DataFrame({"path": range(1000), "split": "test", "class": true, "predicted": names,
                             "p_a": 0.5, "p_b": 0.5})

    figures = diagnosis.split_loss(predicted(10), predicted(30), predicted(130))
    assert figures["quantization_loss"] == pytest.approx(0.02, abs=1e-3)
    assert figures["kernel_loss"] == pytest.approx(0.1, abs=1e-3)
    assert figures["quantization_agreement"] == pytest.approx(0.98)
    assert figures["kernel_agreement"] == pytest.approx(0.9)
    eight_bits = {**RECIPE, "reduce_range": False}
    assert "saturate" in diagnosis.finding(figures, eight_bits, "AVX2", None)
    assert diagnosis.finding(figures, eight_bits, "AVX512-VNNI", None).startswith("integer kernels round otherwise")
    same = {"kernel_agreement": 1, "quantization_agreement": 1}
    assert diagnosis.finding(same, RECIPE, "AVX2", None) == "lossless"


def test_a_warning_where_another_machine_would_compute_otherwise():
    eight_bits = {**RECIPE, "reduce_range": False}
    assert "without VNNI" in diagnosis.portability(eight_bits, "AVX512-VNNI", None)
    assert "saturates here" in diagnosis.portability(eight_bits, "AVX2", None)
    assert diagnosis.portability(RECIPE, "AVX512-VNNI", None) is None
    assert diagnosis.portability({"quantizer": "weights"}, "AVX2", None) is None


@pytest.mark.parametrize("name, reduce_range, activation", [
    ("AVX2", True, "QUInt8"), ("AVX512", True, "QUInt8"), ("AVX512-VNNI", False, "QUInt8"),
    ("ARM dotprod", False, "QInt8"),
])
def test_auto_follows_the_instruction_set(name, reduce_range, activation):
    recipe = instruction_sets.resolve({"reduce_range": "auto", "activation_type": "auto", "per_channel": True}, name)
    assert recipe == {"reduce_range": reduce_range, "activation_type": activation, "per_channel": True}
    assert instruction_sets.resolve({"reduce_range": False}, name) == {"reduce_range": False}
