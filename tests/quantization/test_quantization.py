"""Quantization in steps, on one small network."""

import export_fp32
import numpy as np
import onnx
import pytest
import torch
from beansweep.common import files
from beansweep.common.errors import UserError
from beansweep.models import model_metadata, onnx_session
from beansweep.quantization import quantization
from torch import nn

RECIPE = {
    "integer_rewrites": False,
    "per_channel": True,
    "reduce_range": False,
    "weight_type": "QInt8",
    "activation_type": "QUInt8",
}
CARD = {"labels": ["a", "b", "c"], "preprocessing": {"image_size": 16}, "session": {}, "recipe": {}}


@pytest.fixture(scope="module")
def inputs():
    return np.random.default_rng(0).normal(size=(24, 3, 16, 16)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, inputs):
    """A folder with fp32.onnx and its metadata, prepared.onnx, and minmax.json."""
    folder = tmp_path_factory.mktemp("quantization")
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.Hardswish(),
        nn.Conv2d(8, 8, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    ).eval()
    export_fp32.export(network, 16, folder / "fp32.onnx")
    model_metadata.write(folder / "fp32.json", folder / "fp32.onnx", **CARD)
    with torch.inference_mode():
        np.save(folder / "torch.npy", network(torch.from_numpy(inputs)).numpy())
    quantization.prepare(folder / "fp32.onnx", folder / "prepared.onnx")
    quantization.calibrate(
        folder / "prepared.onnx", "minmax", inputs[:, None], ["an image"], folder / "minmax.json"
    )
    return folder


def test_the_export_has_a_dynamic_batch_and_torchs_outputs(folder, inputs):
    session, _ = onnx_session.load(folder / "fp32.json")
    np.testing.assert_allclose(
        onnx_session.logits(session, inputs), np.load(folder / "torch.npy"), atol=1e-5
    )
    np.testing.assert_allclose(
        onnx_session.logits(session, inputs[:1]), np.load(folder / "torch.npy")[:1], atol=1e-5
    )


def test_the_export_names_no_path_of_this_machine(folder):
    assert str(export_fp32.__file__).encode() not in (folder / "fp32.onnx").read_bytes()


def test_minmax_ranges_hold_every_value_of_the_input(folder, inputs):
    ranges = files.read_json(folder / "minmax.json")["ranges"]["data"]
    low, high = (ranges["image"][end]["data"] for end in ("lowest", "highest"))
    np.testing.assert_allclose(
        [np.ravel(low)[0], np.ravel(high)[0]], [inputs.min(), inputs.max()], rtol=1e-6
    )


@pytest.mark.parametrize("method", ["minmax", "moving_average", "percentile", "entropy"])
def test_every_method_gives_a_model_that_follows_the_float_one(folder, inputs, tmp_path, method):
    quantization.calibrate(
        folder / "prepared.onnx", method, inputs[:, None], [], tmp_path / "ranges.json"
    )
    quantization.quantize(
        folder / "prepared.onnx", tmp_path / "ranges.json", RECIPE, tmp_path / "int8.onnx"
    )
    model_metadata.write(tmp_path / "int8.json", tmp_path / "int8.onnx", **CARD)
    # Float kernels: the machine's integer kernels are not what is tested here.
    session, _ = onnx_session.load(tmp_path / "int8.json", float_kernels=True)
    expected = np.load(folder / "torch.npy")
    assert np.corrcoef(onnx_session.logits(session, inputs).ravel(), expected.ravel())[0, 1] > 0.97


def test_weights_are_int8_and_per_channel_and_repeat_byte_for_byte(folder, tmp_path):
    for name in ("one.onnx", "two.onnx"):
        quantization.quantize(
            folder / "prepared.onnx", folder / "minmax.json", RECIPE, tmp_path / name
        )
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()
    tensors = {tensor.name: tensor for tensor in onnx.load(tmp_path / "one.onnx").graph.initializer}
    kernels = [
        tensor
        for tensor in tensors.values()
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4
    ]
    assert len(kernels) == 2
    for kernel in kernels:
        scale = next(
            tensor
            for name, tensor in tensors.items()
            if name == kernel.name.removesuffix("_quantized") + "_scale"
        )
        assert list(scale.dims) == [kernel.dims[0]]


def test_reduce_range_keeps_weights_within_seven_bits(folder, tmp_path):
    quantization.quantize(
        folder / "prepared.onnx",
        folder / "minmax.json",
        {**RECIPE, "reduce_range": True},
        tmp_path / "int8.onnx",
    )
    weights = [
        onnx.numpy_helper.to_array(tensor)
        for tensor in onnx.load(tmp_path / "int8.onnx").graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4
    ]
    assert max(np.abs(each.astype(int)).max() for each in weights) <= 64


def test_ranges_of_another_model_are_refused(folder, tmp_path):
    with pytest.raises(UserError, match="made from another model"):
        quantization.quantize(
            folder / "fp32.onnx", folder / "minmax.json", RECIPE, tmp_path / "int8.onnx"
        )
    assert not (tmp_path / "int8.onnx").exists()


def test_a_card_refuses_another_model_and_applies_its_session_options(folder, tmp_path, inputs):
    (tmp_path / "fp32.onnx").write_bytes((folder / "fp32.onnx").read_bytes())
    model_metadata.write(
        tmp_path / "fp32.json",
        tmp_path / "fp32.onnx",
        **{**CARD, "session": {"session.disable_quant_qdq": "1"}},
    )
    session, _ = onnx_session.load(tmp_path / "fp32.json", threads=2)
    options = session.get_session_options()
    assert options.get_session_config_entry("session.disable_quant_qdq") == "1"
    assert options.intra_op_num_threads == 2
    (tmp_path / "fp32.onnx").write_bytes((folder / "prepared.onnx").read_bytes())
    with pytest.raises(UserError, match="is not the model"):
        onnx_session.load(tmp_path / "fp32.json")
