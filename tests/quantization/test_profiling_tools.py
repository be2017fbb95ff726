"""The tools that show where the time of a quantized model goes."""

import kernel_peak
import onnx_ir as ir
import operator_profile
import pytest
import small_network
import torch
from beansweep.benchmark import integer_products
from beansweep.models import model_metadata
from beansweep.quantization import onnx_graph
from small_network import PREPROCESSING, RECIPE
from torch import nn

# Rows, products in a sum, columns.
# The image is padded to four channels.
SHAPES = [(8 * 8, 3 * 3 * 4, 48), (8 * 8, 3 * 3, 48), (8 * 8, 48, 32), (1, 32, 4)]


@pytest.fixture
def metadata(tmp_path):
    """A quantized network of a convolution, a depthwise one, a pointwise one and a product."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 48, 3, padding=1, stride=2),
        nn.ReLU(),
        nn.Conv2d(48, 48, 3, padding=1, groups=48),
        nn.ReLU(),
        nn.Conv2d(48, 32, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 4),
    )
    small_network.export(network, 16, tmp_path / "fp32.onnx")
    images = small_network.noise(4, 16)
    prepared = small_network.prepare(tmp_path / "fp32.onnx", images)
    ranges = small_network.calibrate(prepared, images, narrow_ranges=True)
    quantized = small_network.quantize(prepared, ranges, RECIPE)
    onnx_graph.save(ir.to_proto(quantized), tmp_path / "int8.onnx")
    about = {"preprocessing": PREPROCESSING, "session": {}, "labels": ["a", "b", "c", "d"]}
    for name, recipe in (("fp32", {}), ("int8", RECIPE)):
        path = tmp_path / f"{name}.onnx"
        model_metadata.write(path.with_suffix(".json"), path, recipe=recipe, **about)
    return tmp_path / "int8.json"


def test_each_layer_is_compared_with_a_product_of_its_shape(metadata, monkeypatch, capsys):
    assert list(integer_products.shapes(metadata).values()) == SHAPES
    layers = kernel_peak.table(metadata, kernel_peak.query_time(metadata))
    assert list(layers["product"]) == [" x ".join(map(str, shape)) for shape in SHAPES]
    assert (layers[["us", "product us"]] > 0).all(axis=None)
    monkeypatch.setattr("sys.argv", ["kernel_peak.py", str(metadata)])
    kernel_peak.main()
    assert "times as fast as FP32; limit" in capsys.readouterr().out


def test_the_profile_of_a_folder_is_of_the_models_that_it_has(metadata, monkeypatch, capsys):
    folder = metadata.parent
    # What is there of a finished backbone, too; one variant is not available.
    for name in ("inspection.json", "latency.json", "int8_qat.json"):
        (folder / name).write_text("{}")
    (folder / "int8_qat.onnx").touch()
    monkeypatch.setattr("sys.argv", ["operator_profile.py", str(folder)])
    operator_profile.main()
    assert capsys.readouterr().out.splitlines()[1].split() == ["fp32", "int8"]


def test_a_bench_times_the_products_of_all_layers(metadata):
    paths = {"fp32": metadata.with_name("fp32.json"), "int8": metadata}
    found = integer_products.times(paths, threads=1)
    assert found["fp32"] is None
    once = {shape: integer_products.product_time(*shape, 1) for shape in SHAPES}
    assert found["int8"] == pytest.approx(sum(once.values()) / 1000)
