"""A small network that learns in seconds, and short ways through the steps of quantization."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import torch
from beansweep.data.pixels import Folder
from beansweep.models import export as exporting
from beansweep.models import onnx_session
from beansweep.quantization import calibration, onnx_graph, preparation, static
from beansweep.quantization.calibration import Calibration
from beansweep.quantization.sources import Sources
from onnx import TensorProto, helper, numpy_helper
from torch import nn

RECIPE = {
    "quantizer": "static",
    "integer_rewrites": True,
    "per_channel": True,
    "reduce_range": True,
    "weight_type": "QInt8",
    "activation_type": "QUInt8",
    "rounding": "nearest",
    "bias_correction": False,
}
PREPROCESSING = {"image_size": 16, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
CLASSES = 4
COLOURS = np.array([(60, 0, 0), (0, 60, 0), (0, 0, 60), (40, 40, 0)])


def two_convolutions() -> nn.Sequential:
    """A network of three classes with random weights, a normalisation and a HardSwish."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.Hardswish(),
        nn.Conv2d(8, 8, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


def pictures(count, seed):
    """Squares of a class's colour on noise: uint8 [n, 16, 16, 3], and the classes."""
    rng = np.random.default_rng(seed)
    true = np.arange(count) % CLASSES
    pixels = rng.integers(60, 196, (count, 16, 16, 3))
    for image, label in zip(pixels, true, strict=True):
        row, column = rng.integers(0, 9, 2)
        image[row : row + 7, column : column + 7] += COLOURS[label]
    return pixels.clip(0, 255).astype(np.uint8), true


def normalised(pixels):
    """Network input of pixels, by `PREPROCESSING`."""
    return (pixels.transpose(0, 3, 1, 2) / 255 - 0.5).astype(np.float32) / 0.25


def noise(count, size, seed=0):
    """Images of noise: float32 [n, 3, size, size]."""
    return np.random.default_rng(seed).normal(size=(count, 3, size, size)).astype(np.float32)


def trained_network():
    """Train the small network on pictures."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1),
        nn.BatchNorm2d(12),
        nn.Hardswish(),
        nn.Conv2d(12, 12, 3, padding=1, groups=12),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 24, 1),
        nn.BatchNorm2d(24),
        nn.SiLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(24, CLASSES),
    )
    pixels, true = pictures(512, seed=0)
    inputs, labels = torch.from_numpy(normalised(pixels)), torch.from_numpy(true)
    optimiser = torch.optim.AdamW(network.parameters(), 0.01)
    for _ in range(25):
        for batch in torch.randperm(len(inputs)).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(inputs[batch]), labels[batch]).backward()
            optimiser.step()
    return network


def train(folder):
    """Train the small network, and write it as fp32.onnx and prepared.onnx, with its ranges."""
    export(trained_network(), 16, folder / "fp32.onnx")
    inputs = normalised(pictures(64, seed=0)[0])
    prepared = prepare(folder / "fp32.onnx", inputs[:32])
    onnx_graph.save(ir.to_proto(prepared), folder / "prepared.onnx")
    for method in ("minmax", "percentile"):
        ranges = calibration.calibrate(prepared, method, inputs[:, None], narrow_ranges=True)
        images = [f"{index}.png" for index in range(32)]
        path = folder / f"rewritten-{method}.json"
        calibration.write(path, folder / "prepared.onnx", method, images, ranges)


def export(network, image_size, path):
    """Write a network as ONNX."""
    exporting.export(network.eval(), image_size, path)


def prepare(path, inputs=None):
    """Prepare a model file; with images, for integer kernels."""
    return preparation.prepare(ir.load(path), inputs)


def calibrate(prepared, inputs, method="minmax", narrow_ranges=False):
    """Find the ranges of a prepared model."""
    ranges = calibration.calibrate(prepared, method, inputs[:, None], narrow_ranges=narrow_ranges)
    return Calibration(method, [], ranges)


def quantize(prepared, ranges, recipe, float_nodes=()):
    """Quantize statically, without GPTQ and bias correction."""
    sources = Sources({"one": ranges}, Folder(Path()), PREPROCESSING)
    recipe = {**recipe, "calibration": "one", "bias_correction": False}
    return onnx_graph.from_proto(static.quantize_once(prepared, recipe, sources, None, float_nodes))


def saved(model):
    """A model as the bytes of its file."""
    return ir.to_proto(model).SerializeToString()


def logits(model, inputs, entries=None, **options):
    """Run a model: a file, or one in memory."""
    if isinstance(model, onnx.ModelProto):
        model = model.SerializeToString()
    elif isinstance(model, ir.Model):
        model = saved(model)
    return onnx_session.logits(onnx_session.create(model, entries, **options), inputs)


def constants(model):
    """The arrays of a graph by name."""
    return {name: onnx_graph.constant(value) for name, value in model.graph.initializers.items()}


def layer_weights(model):
    """Weights of each layer as they are multiplied, one row an output."""
    found = {}
    for node in model.graph:
        if node.op_type in ("Conv", "Gemm"):
            weight = onnx_graph.constant(node.inputs[1])
            restored = onnx_graph.producer(node.inputs[1], "DequantizeLinear")
            found[node.name] = onnx_graph.dequantized(restored) if weight is None else weight
    return found


def graph_of(nodes, shape, arrays=()):
    """A model of a few nodes, from `image` to `logits`."""
    proto = helper.make_model(
        helper.make_graph(
            nodes,
            "graph",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(array, name) for name, array in arrays],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    return ir.from_proto(proto)


def identity_convolution(source, target):
    """A convolution that changes nothing, with the weights `eye` and `zero` of `IDENTITY`."""
    return helper.make_node(
        "Conv", [source, "eye", "zero"], [target], name=target, kernel_shape=[1, 1]
    )


IDENTITY = [
    ("eye", np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)),
    ("zero", np.zeros(3, np.float32)),
]
