"""Calibration: ranges that hold what was seen, of the model that they are used for."""

import numpy as np
import onnx_ir as ir
import pytest
import small_network
import torch
from beansweep.common.errors import UserError
from beansweep.quantization import calibration, onnx_graph
from small_network import RECIPE


@pytest.fixture(scope="module")
def inputs():
    return small_network.noise(24, 16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, inputs):
    """A folder with fp32.onnx, prepared.onnx, and the network's logits as torch.npy."""
    folder = tmp_path_factory.mktemp("calibration")
    torch.manual_seed(0)
    network = small_network.two_convolutions().eval()
    small_network.export(network, 16, folder / "fp32.onnx")
    with torch.inference_mode():
        np.save(folder / "torch.npy", network(torch.from_numpy(inputs)).numpy())
    prepared = small_network.prepare(folder / "fp32.onnx")
    onnx_graph.save(ir.to_proto(prepared), folder / "prepared.onnx")
    return folder


@pytest.fixture
def prepared(folder):
    return onnx_graph.load(folder / "prepared.onnx")


def test_minmax_ranges_hold_every_value_of_the_input(prepared, inputs):
    bounds = small_network.calibrate(prepared, inputs).bounds()
    np.testing.assert_allclose(bounds["image"], [inputs.min(), inputs.max()], rtol=1e-6)


@pytest.mark.parametrize("method", ["minmax", "moving_average", "percentile", "entropy"])
def test_every_method_gives_a_model_that_follows_the_float_one(folder, prepared, inputs, method):
    ranges = small_network.calibrate(prepared, inputs, method)
    recipe = {**RECIPE, "integer_rewrites": False, "reduce_range": False}
    quantized = small_network.quantize(prepared, ranges, recipe)
    expected = np.load(folder / "torch.npy")
    # Float kernels: the machine's integer kernels are not what is tested here.
    found = small_network.logits(quantized, inputs, float_kernels=True)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.97


def test_ranges_are_read_as_they_were_written_under_their_name(folder, prepared, inputs):
    ranges = small_network.calibrate(prepared, inputs).ranges
    path, model = folder / "exported-mine.json", folder / "prepared.onnx"
    calibration.write(path, model, "minmax", ["an image"], ranges)
    expected = calibration.Calibration("minmax", ["an image"], ranges)
    assert calibration.read([path], model) == {"mine": expected}


def test_ranges_of_another_model_are_refused(folder, prepared, inputs):
    ranges = small_network.calibrate(prepared, inputs).ranges
    path = folder / "exported-minmax.json"
    calibration.write(path, folder / "prepared.onnx", "minmax", [], ranges)
    with pytest.raises(UserError, match="made from another model"):
        calibration.read([path], folder / "fp32.onnx")
