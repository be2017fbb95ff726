"""The limit that integer kernels set to a speed-up: plain products of the shapes of the layers.

A convolution is a product of a matrix of its windows, [rows times columns, inputs times kernel],
and one of its weights, [inputs times kernel, outputs]. `MatMulInteger` of matrices of these shapes,
bytes by bytes, is what integer kernels reach on this machine where there are no windows to gather,
no scales and no rounding. A depthwise convolution is compared with a product of [positions, kernel]
and [kernel, channels], which has as many multiplications.
"""

from functools import cache
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from beansweep.benchmark import profiler
from beansweep.common import files, pinning
from beansweep.models import onnx_session
from beansweep.quantization import activations, onnx_graph


def times(metadata_files: dict[str, Path], threads: int) -> dict[str, float | None]:
    """Time the products of each model's quantized layers, one after another.

    Parameters
    ----------
    metadata_files : name -> metadata file
    threads : intra-op threads, and processors that this process is pinned to

    Returns
    -------
    Name -> their sum in ms; None of a model that quantizes no activation
    """
    pinning.pin(threads)
    found: dict[str, float | None] = {}
    for name, path in metadata_files.items():
        found[name] = None
        if "activation_type" in files.read_json(path)["recipe"]:
            products = (product_time(*shape, threads) for shape in shapes(path).values())
            found[name] = sum(products) / 1000 or None
    return found


def shapes(metadata: Path) -> dict[str, tuple[int, int, int]]:
    """Find the matrix product that each quantized layer of a model is.

    Parameters
    ----------
    metadata : JSON file next to the model

    Returns
    -------
    Layer -> rows, products in a sum, columns. A depthwise convolution has its channels as columns.
    """
    contents = files.read_json(metadata)
    model = onnx_graph.load(metadata.with_name(contents["model"]))
    layers = onnx_graph.quantized_layers(model.graph)
    names = [str(layer.outputs[0].name) for layer, _ in layers]
    image = np.zeros((1, 3, *[contents["preprocessing"]["image_size"]] * 2), np.float32)
    (values,) = activations.of(model, names, image)
    found = {}
    for (layer, weights), name in zip(layers, names, strict=True):
        stored = onnx_graph.constant(weights.inputs[0])
        assert stored is not None
        outputs = stored.shape[-1] if onnx_graph.outputs_come_last(layer) else stored.shape[0]
        found[str(layer.name)] = (values[name].size // outputs, stored.size // outputs, outputs)
    return found


@cache
def product_time(rows: int, inner: int, columns: int, threads: int = 1) -> float:
    """Time an integer matrix product of random bytes in the profiler, in microseconds."""
    rng = np.random.default_rng(0)
    weight = rng.integers(-64, 65, (inner, columns)).astype(np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["bytes", "weight"], ["sums"], name="product")],
        "product",
        [helper.make_tensor_value_info("bytes", TensorProto.UINT8, [rows, inner])],
        [helper.make_tensor_value_info("sums", TensorProto.INT32, [rows, columns])],
        [numpy_helper.from_array(weight, "weight")],
    )
    opsets = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    feed = {"bytes": rng.integers(0, 256, (rows, inner)).astype(np.uint8)}
    options = onnx_session.create(model, threads=threads).get_session_options()
    return sum(profiler.node_times(model, options, feed).values())
