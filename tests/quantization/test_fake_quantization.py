"""Fake quantization: torch computes the graph that will run."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import small_network
import torch
from beansweep.models import backbones
from beansweep.quantization import fake_quantization
from beansweep.quantization.not_applicable import NotApplicable
from onnx import helper
from small_network import RECIPE, graph_of

SIZE = 64


def prepared_and_quantized(folder, network, recipe):
    """A network prepared and quantized on noise, and the images of noise."""
    small_network.export(backbones.fused(network.eval()), SIZE, folder / "fp32.onnx")
    images = small_network.noise(4, SIZE)
    prepared = small_network.prepare(
        folder / "fp32.onnx", images if recipe["integer_rewrites"] else None
    )
    ranges = small_network.calibrate(prepared, images)
    return prepared, small_network.quantize(prepared, ranges, recipe), images


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("mobilenet_v3_small", {}),
        ("efficientnet_b0", {}),
        ("timm/ghostnet_050", {}),
        ("timm/tf_efficientnet_lite0", {}),
        ("timm/mobileone_s0", {}),
        ("squeezenet1_1", {}),
        ("mobilenet_v3_small", {"integer_rewrites": False}),
        ("mobilenet_v3_small", {"bit_exact": True}),
        ("resnet18", {"activation_type": "QInt8", "per_channel": False}),
    ],
)
def test_torch_computes_a_graph_as_onnx_runtime_does(tmp_path, name, changes):
    torch.manual_seed(0)
    prepared, quantized, images = prepared_and_quantized(
        tmp_path, backbones.build(name, 4), {**RECIPE, **changes}
    )
    for model, tolerance in ((prepared, 1e-4), (quantized, 0.05)):
        expected = small_network.logits(model, images, float_kernels=True)
        network = fake_quantization.Network(model)
        with torch.inference_mode():
            found = network(torch.from_numpy(images)).numpy()
        # What the float stem puts out may fall to either side of the middle between two steps.
        np.testing.assert_allclose(found, expected, atol=tolerance * np.ptp(expected))
        # On another device, nothing that it computes with stays behind: torch would refuse that.
        elsewhere = fake_quantization.Network(model, device=torch.device("meta"))
        assert elsewhere(torch.from_numpy(images).to("meta")).shape == found.shape
    learned = ir.to_proto(network.learned())
    onnx.checker.check_model(learned, full_check=True)
    np.testing.assert_array_equal(
        small_network.logits(learned, images), small_network.logits(quantized, images)
    )


def test_an_unknown_operator_is_named():
    node = helper.make_node("CenterCropPad", ["image", "shape"], ["logits"])
    with pytest.raises(NotApplicable, match="does not know CenterCropPad of this network"):
        fake_quantization.Network(graph_of([node], [1, 3, 8, 8]))
