"""Compare each quantized layer of a model with a plain integer matrix product of the same shape.

    python scripts/tools/kernel_peak.py results/mobilenet_v3_small/int8_static.json

A convolution is a product of a matrix of its windows, [rows times columns, inputs times kernel],
and one of its weights, [inputs times kernel, outputs]. `MatMulInteger` of matrices of these shapes,
bytes by bytes, is what integer kernels reach on this machine where there are no windows to gather,
no scales and no rounding. A depthwise convolution is compared with a product of [positions, kernel]
and [kernel, channels], which has as many multiplications.

The last line says how much faster than FP32 the model is, and how much faster it would be if each
layer took no longer than its product and nothing else took any time. Times of layers and products
are microseconds from ONNX Runtime's own profiler, medians over queries. The profiler takes time in
each node. That is what their sum is above a query without it, and an equal share is taken off each.
"""

import argparse
import os
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from beansweep.common import files, processors
from beansweep.models import onnx_session
from beansweep.quantization import activations, onnx_graph
from tools import operator_profile


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
    names = [layer.outputs[0].name for layer, _ in layers]
    image = np.zeros((1, 3, *[contents["preprocessing"]["image_size"]] * 2), np.float32)
    (values,) = activations.of(model, names, image)
    found = {}
    for layer, weights in layers:
        stored = onnx_graph.constant(weights.inputs[0])
        outputs = stored.shape[-1] if onnx_graph.outputs_come_last(layer) else stored.shape[0]
        put_out = values[layer.outputs[0].name].size
        found[layer.name] = (put_out // outputs, stored.size // outputs, outputs)
    return found


@cache
def product_time(rows: int, inner: int, columns: int) -> float:
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
    options = onnx_session.create(model).get_session_options()
    return sum(operator_profile.node_times(model, options, feed).values())


def query_time(metadata: Path) -> float:
    """Time a query of a model without the profiler, median in microseconds."""
    session, contents = onnx_session.load(metadata)
    image = np.zeros((1, 3, *[contents["preprocessing"]["image_size"]] * 2), np.float32)
    times = []
    for _ in range(operator_profile.QUERIES):
        start = time.perf_counter()
        onnx_session.logits(session, image)
        times.append(time.perf_counter() - start)
    return 1e6 * float(np.median(times[operator_profile.WARMUP :]))


def table(metadata: Path, query: float) -> pd.DataFrame:
    """Measure the quantized layers of a model.

    Parameters
    ----------
    metadata : JSON file next to the model
    query : what a query takes, see `query_time`

    Returns
    -------
    A row for each, with the times of layer and product, and the billions of multiplications a
    second of both
    """
    times = operator_profile.times_of(metadata)
    taken_off = max(sum(times.values()) - query, 0) / len(times)
    rows = []
    for layer, shape in shapes(metadata).items():
        # ONNX Runtime adds to the name of a node that it fuses.
        own = [times[node] for node in times if node[1] == layer or node[1].startswith(f"{layer}_")]
        took = max(sum(own) - taken_off * len(own), 1)
        product = max(product_time(*shape) - taken_off, 1)
        billions = np.prod(shape, dtype=np.float64) / 1000
        rows.append(
            {
                "layer": layer,
                "product": " x ".join(map(str, shape)),
                "us": took,
                "product us": product,
                "billions/s": billions / took,
                "product billions/s": billions / product,
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("metadata", type=Path, help="JSON file next to an INT8 model")
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    fp32, query = query_time(args.metadata.with_name("fp32.json")), query_time(args.metadata)
    layers = table(args.metadata, query)
    machine = f"{processors.detect()}, ONNX Runtime {onnxruntime.__version__}"
    print(f"{args.metadata}: {machine}")
    print(layers.to_string(index=False, float_format=lambda value: f"{value:.3g}"))
    own, products = layers["us"].sum(), layers["product us"].sum()
    print(f"a query {query:.0f} us, FP32 {fp32:.0f} us, quantized layers {own:.0f} us", end=", ")
    print(f"their products {products:.0f} us")
    print(f"{fp32 / query:.2f} times as fast as FP32; limit {fp32 / products:.2f}")


if __name__ == "__main__":
    main()
