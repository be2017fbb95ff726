"""Weight-only quantization: INT8 in the file, floats in the kernels."""

import onnx
import onnx_ir as ir
import small_network
from beansweep.models import model_metadata, onnx_session
from beansweep.quantization import onnx_graph, session_entries, weight_only
from small_network import PREPROCESSING

pytest_plugins = ["trained_network"]

RECIPE = {"quantizer": "weight_only", "rounding": "nearest", "bias_correction": False}


def test_weights_in_int8_compute_as_floats_with_their_session_option(
    trained, reference, sources, tmp_path
):
    model, recipe, entries = weight_only.quantize(
        onnx_graph.load(trained / "fp32.onnx"), RECIPE, sources
    )
    assert recipe == RECIPE
    onnx_graph.save(model, tmp_path / "weights.onnx")
    metadata = tmp_path / "weights.json"
    model_metadata.write(
        metadata,
        tmp_path / "weights.onnx",
        labels=list("abcd"),
        preprocessing=PREPROCESSING,
        session=entries,
        recipe=recipe,
    )
    session, contents = onnx_session.load(metadata)
    assert contents["session"] == session_entries.FOLD_WEIGHTS
    assert reference.score(session)["agreement"] >= 0.98
    for tensor in model.graph.initializer:
        assert tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) <= 1


def test_the_prepared_model_stays_in_float(prepared, sources):
    before = small_network.saved(prepared)
    recipe = {**RECIPE, "rounding": "gptq", "bias_correction": True}
    model = weight_only.quantize(prepared, recipe, sources).model
    assert ir.to_proto(prepared).SerializeToString() == before
    assert onnx.TensorProto.INT8 in {tensor.data_type for tensor in model.graph.initializer}
