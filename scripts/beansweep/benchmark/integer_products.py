"""The limit that integer kernels set to a speed-up: plain products of the shapes of the layers.

A convolution is a product of a matrix of its windows, [rows times columns, inputs times kernel],
and one of its weights, [inputs times kernel, outputs]. `MatMulInteger` of matrices of these shapes,
bytes by bytes, is what integer kernels reach on this machine where there are no windows to gather,
no scales and no rounding. A depthwise convolution is compared with a product of [positions, kernel]
and [kernel, channels], which has as many multiplications.
"""

import time
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from beansweep.common import files, pinning
from beansweep.models import onnx_session
from beansweep.quantization import activations, onnx_graph

# Products in the queries that are compared, and queries of each.
_COUNTS = (1, 5)
_QUERIES, _WARMUP = 120, 20


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
    """Time an integer matrix product of random bytes, in microseconds.

    It is what each further product adds to a query of a few: so what a query takes besides, and
    what a profiler would, is not in it.
    """
    few, many = (_product_query(rows, inner, columns, count, threads) for count in _COUNTS)
    return max(many - few, 0) / (_COUNTS[1] - _COUNTS[0])


def _product_query(rows: int, inner: int, columns: int, count: int, threads: int) -> float:
    """Time a query of so many products of the same bytes, median in microseconds."""
    rng = np.random.default_rng(0)
    nodes, weights, outputs = [], [], []
    for number in range(count):
        weight = rng.integers(-64, 65, (inner, columns)).astype(np.int8)
        weights.append(numpy_helper.from_array(weight, f"weight{number}"))
        inputs, sums = ["bytes", f"weight{number}"], f"sums{number}"
        nodes.append(helper.make_node("MatMulInteger", inputs, [sums]))
        outputs.append(helper.make_tensor_value_info(sums, TensorProto.INT32, [rows, columns]))
    image = helper.make_tensor_value_info("bytes", TensorProto.UINT8, [rows, inner])
    graph = helper.make_graph(nodes, "products", [image], outputs, weights)
    opsets = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    session = onnx_session.create(model.SerializeToString(), threads=threads)
    # Memory that stays: new memory for each output would take longer than a small product.
    binding = session.io_binding()
    binding.bind_cpu_input("bytes", rng.integers(0, 256, (rows, inner)).astype(np.uint8))
    for value in session.get_outputs():
        binding.bind_ortvalue_output(value.name, _memory(rows, columns))
    times = []
    for _ in range(_QUERIES):
        start = time.perf_counter_ns()
        session.run_with_iobinding(binding)
        times.append((time.perf_counter_ns() - start) / 1000)
    return float(np.median(times[_WARMUP:]))


def _memory(rows: int, columns: int) -> onnxruntime.OrtValue:
    return onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros((rows, columns), np.int32))
