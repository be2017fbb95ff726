"""Compare each quantized layer of a model with a plain integer matrix product of the same shape.

    python scripts/tools/kernel_peak.py results/mobilenet_v3_small/int8_static.json

A convolution is a product of a matrix of its windows, [rows times columns, inputs times kernel],
and one of its weights, [inputs times kernel, outputs]. `MatMulInteger` of matrices of these shapes,
bytes by bytes, is what integer kernels reach on this machine where there are no windows to gather,
no scales and no rounding. A depthwise convolution is compared with a product of [positions, kernel]
and [kernel, channels], which has as many multiplications.

The last lines say how much faster than FP32 the model is, and how much faster it would be if each
layer took no longer than its product and nothing else took any time. Times are microseconds a query
from ONNX Runtime's own profiler, medians over queries. The profiler takes a microsecond or two in
each node, so the sums are above the p50 of the bench.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pandas as pd
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from beansweep.common import files, processors
from beansweep.models import onnx_session
from beansweep.quantization import onnx_graph
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
    proto = onnx.load(metadata.with_name(contents["model"]))
    size = contents["preprocessing"]["image_size"]
    dimensions = proto.graph.input[0].type.tensor_type.shape.dim
    for dimension, length in zip(dimensions, (1, 3, size, size), strict=True):
        dimension.dim_value = length
    inferred = onnx_graph.from_proto(onnx.shape_inference.infer_shapes(proto))
    found = {}
    for layer, weights in onnx_graph.quantized_layers(inferred.graph):
        stored = onnx_graph.constant(weights.inputs[0])
        outputs = stored.shape[-1] if onnx_graph.outputs_come_last(layer) else stored.shape[0]
        put_out = int(np.prod(layer.outputs[0].shape.numpy()))
        found[layer.name] = (put_out // outputs, stored.size // outputs, outputs)
    return found


def product_time(rows: int, inner: int, columns: int) -> float:
    """Time an integer matrix product of random bytes, in microseconds."""
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


def table(metadata: Path) -> tuple[pd.DataFrame, float]:
    """Measure a model.

    Returns
    -------
    A row for each quantized layer, with the times of both and the billions of products a second of
    both; and what all operators of the model take, in microseconds.
    """
    times = operator_profile.times_of(metadata)
    rows = []
    for layer, shape in shapes(metadata).items():
        # ONNX Runtime adds to the name of a node that it fuses.
        own = [times[node] for node in times if node[1] == layer or node[1].startswith(f"{layer}_")]
        time, product = sum(own), product_time(*shape)
        billions = np.prod(shape, dtype=np.float64) / 1000
        rows.append(
            {
                "layer": layer,
                "product": " x ".join(map(str, shape)),
                "us": time,
                "product us": product,
                "billions/s": billions / time if time else np.nan,
                "product billions/s": billions / product,
                "share of product's": product / time if time else np.nan,
            }
        )
    return pd.DataFrame(rows), sum(times.values())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("metadata", type=Path, help="JSON file next to an INT8 model")
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    layers, everything = table(args.metadata)
    fp32 = sum(operator_profile.times_of(args.metadata.with_name("fp32.json")).values())
    machine = f"{processors.detect()}, ONNX Runtime {onnxruntime.__version__}"
    print(f"{args.metadata}: {machine}")
    print(layers.to_string(index=False, float_format=lambda value: f"{value:.3g}"))
    own, products = layers["us"].sum(), layers["product us"].sum()
    print(f"quantized layers {own:.0f} us, their products {products:.0f} us, ", end="")
    print(f"all operators {everything:.0f} us, FP32 {fp32:.0f} us")
    print(f"{fp32 / everything:.2f} times as fast as FP32; limit {fp32 / products:.2f}")


if __name__ == "__main__":
    main()
