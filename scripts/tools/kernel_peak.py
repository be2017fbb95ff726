"""Compare each quantized layer of a model with a plain integer matrix product of the same shape.

    python scripts/tools/kernel_peak.py results/mobilenet_v3_small/int8_static.json

Which products, and why, is told in `beansweep.benchmark.integer_products`.

The last line says how much faster than FP32 the model is, and how much faster it would be if each
layer took no longer than its product and nothing else took any time. Times of layers are
microseconds from ONNX Runtime's own profiler, medians over queries. The profiler takes time in each
node. That is what their sum is above a query without it, and an equal share is taken off each.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from beansweep.benchmark import integer_products, profiler
from beansweep.common import processors
from beansweep.models import onnx_session
from tools import operator_profile


def query_time(metadata: Path) -> float:
    """Time a query of a model without the profiler, median in microseconds."""
    session, contents = onnx_session.load(metadata)
    image = np.zeros((1, 3, *[contents["preprocessing"]["image_size"]] * 2), np.float32)
    times = []
    for _ in range(profiler.QUERIES):
        start = time.perf_counter()
        onnx_session.logits(session, image)
        times.append(time.perf_counter() - start)
    return 1e6 * float(np.median(times[profiler.WARMUP :]))


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
    for layer, shape in integer_products.shapes(metadata).items():
        # ONNX Runtime adds to the name of a node that it fuses.
        own = [times[node] for node in times if node[1] == layer or node[1].startswith(f"{layer}_")]
        took = max(sum(own) - taken_off * len(own), 1)
        product = max(integer_products.product_time(*shape), 0.1)
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
