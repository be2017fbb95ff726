"""From a backbone to INT8: after its stem, a network of timm runs in integer kernels alone."""

import numpy as np
import onnx
import onnxruntime
import pytest
import small_network
import torch
from beansweep.models import backbones
from beansweep.quantization import stem
from small_network import RECIPE

FLOAT_KERNELS = {
    "Conv",
    "FusedConv",
    "Add",
    "Mul",
    "Concat",
    "Clip",
    "Relu",
    "HardSigmoid",
    "ReduceMean",
    "GlobalAveragePool",
    "Gemm",
}


def optimised(model, folder):
    """A session of a model, and the kinds of operators that ONNX Runtime makes of it."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "as_run.onnx")
    session = onnxruntime.InferenceSession(
        small_network.saved(model), options, providers=["CPUExecutionProvider"]
    )
    return session, [node.op_type for node in onnx.load(folder / "as_run.onnx").graph.node]


@pytest.mark.slow
@pytest.mark.parametrize(
    "backbone",
    [
        "timm/tf_efficientnet_lite0",
        "timm/ghostnet_050",
        "timm/mobileone_s0",
        "timm/mobilenetv4_conv_small_050",
    ],
)
def test_a_network_of_timm_runs_in_integer_kernels_after_its_stem(tmp_path, backbone):
    torch.manual_seed(0)
    size, model = 32, backbones.build(backbone, 5)
    inputs = torch.randn(12, 3, size, size)
    with torch.no_grad():
        # Statistics as after training, without which a deep network's values overflow.
        for _ in range(12):
            model.train()(inputs)
        expected = model.eval()(inputs).numpy()
        deployed = backbones.fused(model)
        small_network.exporting.compare(expected, deployed(inputs).numpy(), "joining branches")
    assert (len(list(deployed.modules())) < len(list(model.modules()))) == ("mobileone" in backbone)
    inputs = inputs.numpy()
    small_network.export(deployed, size, tmp_path / "fp32.onnx")
    prepared = small_network.prepare(tmp_path / "fp32.onnx", inputs)
    ranges = small_network.calibrate(prepared, inputs)
    quantized = small_network.quantize(prepared, ranges, {**RECIPE, "reduce_range": False})
    session, kinds = optimised(quantized, tmp_path)
    assert np.isfinite(session.run(None, {"image": inputs[:2]})[0]).all()
    first = next(index for index, kind in enumerate(kinds) if kind.startswith("QLinear"))
    assert sum(kind in ("Conv", "FusedConv") for kind in kinds) == len(stem.of(prepared.graph))
    assert not FLOAT_KERNELS & set(kinds[first:])
