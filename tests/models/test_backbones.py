"""Backbones of both libraries by name: built, given the input they take, and quantized to INT8."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from beansweep.common.errors import UserError
from beansweep.models import backbones, export
from beansweep.quantization import integer_rewrites, quantization
from beansweep.settings import validation as checks

RECIPE = {
    "integer_rewrites": True,
    "per_channel": True,
    "reduce_range": False,
    "weight_type": "QInt8",
    "activation_type": "QUInt8",
}
SETTINGS = {"weights": "none", "normalisation": "auto", "image_size": 112}
HALF = {"mean": [0.5] * 3, "std": [0.5] * 3}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """The list of all names, as a first check of a configuration leaves it."""
    path = tmp_path_factory.mktemp("cache") / "backbones.json"
    checks.check_backbones(["resnet18"], path)
    return path


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("timm/mobilone_s0", "timm/mobileone_s0"),
        ("ghostnet_100", "timm/ghostnet_100"),
        ("mobilenet_v3_smal@96", "mobilenet_v3_small"),
    ],
)
def test_an_unknown_name_suggests_a_near_one_of_either_library(cache, wrong, near):
    with pytest.raises(UserError, match=f"did you mean '{near}'"):
        checks.check_backbones([wrong], cache)


def test_known_names_need_no_library(cache, monkeypatch):
    monkeypatch.setattr(backbones, "known", lambda: pytest.fail("the libraries were asked"))
    checks.check_backbones(
        ["mobilenet_v2@96", "timm/mobilenetv4_conv_small.e2400_r224_in1k"], cache
    )


@pytest.mark.parametrize(
    ("backbone", "changes", "expected"),
    [
        ("mobilenet_v3_small", {}, backbones.IMAGENET),
        ("mobilenet_v3_small", {"normalisation": "half"}, HALF),
        ("timm/tf_mobilenetv3_small_minimal_100", {}, HALF),
        (
            "timm/tf_mobilenetv3_small_minimal_100",
            {"normalisation": "imagenet"},
            backbones.IMAGENET,
        ),
        ("timm/mobileone_s0", {}, backbones.IMAGENET),
    ],
)
def test_images_are_normalised_as_the_network_is_used_to(backbone, changes, expected):
    model = backbones.build(backbone, 3)
    assert backbones.preprocessing(model, {**SETTINGS, "backbone": backbone, **changes}) == {
        "image_size": 112,
        **expected,
    }


def test_torchvisions_weights_say_what_they_were_trained_with():
    with torch.device("meta"):
        model = torch.nn.Sequential(torch.nn.Linear(1, 1))
    settings = {**SETTINGS, "backbone": "efficientnet_v2_l"}
    assert backbones.preprocessing(model, settings) == {"image_size": 112, **backbones.IMAGENET}
    assert backbones.preprocessing(model, {**settings, "weights": "imagenet"}) == {
        "image_size": 112,
        **HALF,
    }


def test_a_network_of_one_image_size_is_fed_that():
    model = backbones.build("timm/vit_tiny_patch16_224", 3)
    settings = {**SETTINGS, "backbone": "timm/vit_tiny_patch16_224"}
    assert backbones.preprocessing(model, settings)["image_size"] == 224
    with pytest.raises(
        UserError, match=r"takes images of 224 pixels alone; name it timm/vit_tiny_patch16_224$"
    ):
        backbones.preprocessing(model, {**settings, "backbone": "timm/vit_tiny_patch16_224@96"})


@pytest.mark.parametrize(
    "name", ["mobilenet_v3_small", "efficientnet_b0", "squeezenet1_1", "resnet18"]
)
def test_a_new_network_is_undecided_between_few_classes(name):
    torch.manual_seed(0)
    model = backbones.build(name, 3).eval()
    probabilities = model(torch.randn(4, 3, 64, 64)).softmax(dim=1)
    assert (probabilities - 1 / 3).abs().max() < 0.2


@pytest.mark.parametrize(
    "backbone", ["timm/ghostnet_100", "timm/mobileone_s0", "timm/crossvit_9_240"]
)
def test_a_new_network_of_timm_has_a_head_that_is_undecided(backbone):
    torch.manual_seed(0)
    model = backbones.build(backbone, 3)
    for head in backbones.heads(model):
        assert len(model.get_submodule(head).weight) == 3
    probabilities = model(torch.randn(4, 3, *model.pretrained_cfg["input_size"][1:])).softmax(dim=1)
    assert (probabilities - 1 / 3).abs().max() < 0.2


@pytest.mark.parametrize(
    "backbone",
    [
        "timm/tf_efficientnet_lite0",
        "timm/ghostnet_050",
        "timm/mobileone_s0",
        "timm/mobilenetv4_conv_small_050",
    ],
)
@pytest.mark.slow
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
        export.compare(expected, deployed(inputs).numpy(), "joining branches")
    assert (len(list(deployed.modules())) < len(list(model.modules()))) == ("mobileone" in backbone)
    inputs = inputs.numpy()
    export.export(deployed, size, tmp_path / "fp32.onnx")
    quantization.prepare(tmp_path / "fp32.onnx", tmp_path / "prepared.onnx", inputs)
    quantization.calibrate(
        tmp_path / "prepared.onnx",
        "minmax",
        [image[None] for image in inputs],
        [],
        tmp_path / "ranges.json",
    )
    quantization.quantize(
        tmp_path / "prepared.onnx", tmp_path / "ranges.json", RECIPE, tmp_path / "int8.onnx"
    )
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "as_run.onnx")
    session = onnxruntime.InferenceSession(
        tmp_path / "int8.onnx", options, providers=["CPUExecutionProvider"]
    )
    found = session.run(None, {"image": inputs[:2]})[0]
    assert np.isfinite(found).all()
    kinds = [node.op_type for node in onnx.load(tmp_path / "as_run.onnx").graph.node]
    first = next(index for index, kind in enumerate(kinds) if kind.startswith("QLinear"))
    stem = integer_rewrites.stem(ir.load(tmp_path / "prepared.onnx").graph)
    assert sum(kind in ("Conv", "FusedConv") for kind in kinds) == len(stem)
    assert not {
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
    } & set(kinds[first:])
