"""An exported network runs as torch computes it, and only as its metadata says."""

import numpy as np
import pytest
import small_network
import torch
from beansweep.common.errors import UserError
from beansweep.models import export as exporting
from beansweep.models import model_metadata, onnx_session

METADATA = {
    "labels": ["a", "b", "c"],
    "preprocessing": {"image_size": 16},
    "session": {},
    "recipe": {},
}


@pytest.fixture(scope="module")
def inputs():
    return np.random.default_rng(0).normal(size=(24, 3, 16, 16)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, inputs):
    """A folder with fp32.onnx and its metadata, and the network's logits as torch.npy."""
    folder = tmp_path_factory.mktemp("exported")
    torch.manual_seed(0)
    network = small_network.two_convolutions().eval()
    exporting.export(network, 16, folder / "fp32.onnx")
    model_metadata.write(folder / "fp32.json", folder / "fp32.onnx", **METADATA)
    with torch.inference_mode():
        np.save(folder / "torch.npy", network(torch.from_numpy(inputs)).numpy())
    return folder


def test_the_export_has_a_dynamic_batch_and_torchs_outputs(folder, inputs):
    session, _ = onnx_session.load(folder / "fp32.json")
    expected = np.load(folder / "torch.npy")
    np.testing.assert_allclose(onnx_session.logits(session, inputs), expected, atol=1e-5)
    np.testing.assert_allclose(onnx_session.logits(session, inputs[:1]), expected[:1], atol=1e-5)


def test_the_export_names_no_path_of_this_machine(folder):
    assert str(exporting.__file__).encode() not in (folder / "fp32.onnx").read_bytes()


def test_metadata_refuse_another_model_and_apply_their_session_options(folder, tmp_path):
    model, metadata = tmp_path / "fp32.onnx", tmp_path / "fp32.json"
    model.write_bytes((folder / "fp32.onnx").read_bytes())
    entries = {"session.disable_quant_qdq": "1"}
    model_metadata.write(metadata, model, **{**METADATA, "session": entries})
    session, _ = onnx_session.load(metadata, threads=2)
    options = session.get_session_options()
    assert options.get_session_config_entry("session.disable_quant_qdq") == "1"
    assert options.intra_op_num_threads == 2
    model.write_bytes(model.read_bytes() + b"\n")
    with pytest.raises(UserError, match="is not the model"):
        onnx_session.load(metadata)
