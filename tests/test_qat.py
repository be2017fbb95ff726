"""Quantization-aware training: torch computes the graph that will run, and what it learns runs."""

import export_fp32
import numpy as np
import onnx
import pytest
import torch
from beansweep import backbones, diagnosis, qat, quantization, runtime, torch_graph
from beansweep.stage import UserError
from onnx import TensorProto, helper, numpy_helper
from test_int8 import RECIPE, layer_weights, pictures, reference, trained  # noqa: F401

SETTINGS = {"epochs": 2, "learning_rate": 0.02, "batch_size": 32, "seed": 0}
SIZE = 64


def quiet(steps, _):
    return iter(steps)


def quantized(folder, network, recipe):
    """A network exported, prepared and quantized on noise: the folder's fp32.onnx, prepared.onnx and int8.onnx."""
    export_fp32.export(backbones.fused(network.eval()), SIZE, folder / "fp32.onnx")
    images = np.random.default_rng(0).normal(size=(4, 3, SIZE, SIZE)).astype(np.float32)
    quantization.prepare(folder / "fp32.onnx", folder / "prepared.onnx", images if recipe["rewrites"] else None)
    quantization.calibrate(folder / "prepared.onnx", "minmax", images[:, None], [], folder / "ranges.json")
    quantization.quantize(folder / "prepared.onnx", folder / "ranges.json", recipe, folder / "int8.onnx")
    return images


@pytest.mark.parametrize(("name", "changes"), [
    ("mobilenet_v3_small", {}), ("efficientnet_b0", {}), ("timm/ghostnet_050", {}), ("timm/tf_efficientnet_lite0", {}),
    ("timm/mobileone_s0", {}), ("squeezenet1_1", {}), ("mobilenet_v3_small", {"rewrites": False}),
    ("resnet18", {"activation_type": "QInt8", "per_channel": False}),
])
def test_torch_computes_a_graph_as_onnx_runtime_does(tmp_path, name, changes):
    torch.manual_seed(0)
    images = quantized(tmp_path, backbones.build(name, 4), {**RECIPE, **changes})
    for model, tolerance in (("prepared", 1e-4), ("int8", 0.05)):
        expected = runtime.logits(runtime.session(tmp_path / f"{model}.onnx", float_kernels=True), images)
        network = torch_graph.Network(onnx.load(tmp_path / f"{model}.onnx"))
        with torch.inference_mode():
            found = network(torch.from_numpy(images)).numpy()
        # What the float stem puts out may fall to either side of the middle between two steps.
        np.testing.assert_allclose(found, expected, atol=tolerance * np.ptp(expected))
    learned = network.learned()
    onnx.checker.check_model(learned, full_check=True)
    np.testing.assert_array_equal(runtime.logits(runtime.session(learned.SerializeToString()), images),
                                  runtime.logits(runtime.session(tmp_path / "int8.onnx"), images))


def damaged(model, output, shift):
    """A quantized model whose weights are off by up to so many steps."""
    proto = onnx.load(model)
    rng = np.random.default_rng(0)
    for tensor in proto.graph.initializer:
        if tensor.data_type == TensorProto.INT8 and len(tensor.dims) > 1:
            steps = numpy_helper.to_array(tensor).astype(int)
            off = np.clip(steps + rng.integers(-shift, shift + 1, steps.shape), -64, 64).astype(np.int8)
            tensor.CopyFrom(numpy_helper.from_array(off, tensor.name))
    onnx.save(proto, output)


def test_training_mends_what_quantization_broke(trained, reference, tmp_path):  # noqa: F811
    base, output = tmp_path / "base.onnx", tmp_path / "qat.onnx"
    quantization.quantize(trained / "prepared.onnx", trained / "rewritten-minmax.json", RECIPE, tmp_path / "int8.onnx")
    damaged(tmp_path / "int8.onnx", base, shift=20)
    pixels = torch.from_numpy(pictures(512, seed=5)[0])
    trials = qat.train(trained / "prepared.onnx", base, pixels, reference, {**SETTINGS, "epochs": 4}, output,
                       quiet)
    assert [trial["epoch"] for trial in trials] == [0, 1, 2, 3, 4]
    best = min(trial["kl"] for trial in trials)
    assert best < trials[0]["kl"] / 3
    assert (trials[0]["weights_moved"], trials[0]["biases_moved"]) == (0, 0)
    start, learned = (layer_weights(path) for path in (base, output))
    moved = sum(int((start[name] != learned[name]).sum()) for name in start)
    assert min(trials, key=lambda trial: trial["kl"])["weights_moved"] == moved > 0
    assert reference.score(runtime.session(output))["kl"] == pytest.approx(best)
    model, start = onnx.load(output), onnx.load(base)
    assert [node.op_type for node in model.graph.node] == [node.op_type for node in start.graph.node]
    # 7-bit weights stay 7-bit weights.
    assert max(np.abs(numpy_helper.to_array(tensor).astype(int)).max() for tensor in model.graph.initializer
               if tensor.data_type == TensorProto.INT8) <= 64
    assert abs(output.stat().st_size - base.stat().st_size) < 200


def test_what_training_made_worse_is_not_kept(trained, reference, tmp_path):  # noqa: F811
    base, output = tmp_path / "base.onnx", tmp_path / "qat.onnx"
    quantization.quantize(trained / "prepared.onnx", trained / "rewritten-minmax.json", RECIPE, base)
    trials = qat.train(trained / "prepared.onnx", base, torch.from_numpy(pictures(64, seed=5)[0]), reference,
                       {**SETTINGS, "learning_rate": 1.0}, output, quiet)
    assert min(trials, key=lambda trial: trial["kl"])["epoch"] == 0
    assert output.read_bytes() == base.read_bytes()


def test_the_same_seed_trains_the_same_model(trained, reference, tmp_path):  # noqa: F811
    base = tmp_path / "base.onnx"
    quantization.quantize(trained / "prepared.onnx", trained / "rewritten-minmax.json", RECIPE, tmp_path / "int8.onnx")
    damaged(tmp_path / "int8.onnx", base, shift=20)
    pixels = torch.from_numpy(pictures(64, seed=5)[0])
    for name in ("first", "second"):
        qat.train(trained / "prepared.onnx", base, pixels, reference, {**SETTINGS, "epochs": 1}, tmp_path / name, quiet)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_an_unknown_operator_is_named():
    graph = helper.make_graph([helper.make_node("Einsum", ["image"], ["logits"], equation="bchw->bc")], "graph",
                              [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])],
                              [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)])
    with pytest.raises(UserError, match="does not know the operator Einsum"):
        torch_graph.Network(helper.make_model(graph))


MOVED = {"weights": 9, "weights_moved": 0, "biases": 4, "biases_moved": 3}


def test_what_training_did_is_said_also_where_macro_f1_fell():
    def said(chosen, *scores):
        figures = {"kernel_agreement": 1, "quantization_agreement": 1}
        return diagnosis.finding(figures, {
            "quantizer": "qat", "base": "int8_static", "equals_base": chosen == 0, "chosen_epoch": chosen,
            "trials": [{"kl": kl, "macro_f1": macro_f1, **MOVED} for kl, macro_f1 in scores]}, "AVX2", None)

    assert said(0, (0.01, 0.9), (0.02, 0.8)).startswith("equals int8_static")
    assert said(1, (0.01, 0.9), (0.005, 0.9)).endswith("from 0.01 to 0.005")
    assert "0 of 9 weights and 3 of 4 biases (bias tuning)" in said(1, (0.01, 0.9), (0.005, 0.9))
    assert "macro-F1 there from 0.9000 to 0.8900" in said(1, (0.01, 0.9), (0.005, 0.89))
