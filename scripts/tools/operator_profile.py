"""Compare the time of each kind of operator, in FP32 and in the INT8 variants of a backbone.

    python scripts/tools/operator_profile.py results/mobilenet_v3_small --variants fp32 int8_static

It shows what the latency of a variant is made of, and so what a rewrite or a kernel could still
save. Times are microseconds a query from ONNX Runtime's own profiler: medians over queries, added
up over nodes. The profiler itself costs time in every node, so the sums are above the p50 of the
bench.
"""

import argparse
import os
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from beansweep.benchmark.profiler import Node, node_times
from beansweep.common import processors
from beansweep.models import onnx_session


def profile(metadata: Path) -> tuple[dict[str, float], dict[str, int]]:
    """Measure one model.

    Parameters
    ----------
    metadata : JSON file next to the model

    Returns
    -------
    Microseconds, and number of nodes, of each kind of operator.
    """
    times: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    for (kind, _), time in times_of(metadata).items():
        times[kind] += time
        counts[kind] += 1
    return times, counts


def times_of(metadata: Path) -> dict[Node, float]:
    """Measure the nodes of a model on noise: microseconds of each."""
    session, contents = onnx_session.load(metadata)
    size = contents["preprocessing"]["image_size"]
    image = np.random.default_rng(0).normal(size=(1, 3, size, size)).astype(np.float32)
    model = metadata.with_name(contents["model"])
    return node_times(model, session.get_session_options(), {session.get_inputs()[0].name: image})


def table(folder: Path, variants: list[str]) -> pd.DataFrame:
    """Put the profiles of variants next to each other: a row a kind of operator, and their sum."""
    columns = {}
    for variant in variants:
        times, counts = profile(folder / f"{variant}.json")
        column = {kind: f"{time:.0f} ({counts[kind]})" for kind, time in times.items()}
        column["all"] = f"{sum(times.values()):.0f} ({sum(counts.values())})"
        columns[variant] = pd.Series(column)
    result = pd.DataFrame(columns).fillna("")
    return result.loc[[*sorted(set(result.index) - {"all"}), "all"]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="a backbone's folder of results")
    parser.add_argument(
        "--variants", nargs="+", help="such as fp32 int8_static; all in the folder by default"
    )
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    # A variant that the backbone cannot have is an empty file.
    found = sorted(path.stem for path in args.folder.glob("*.onnx") if path.stat().st_size)
    result = table(args.folder, args.variants or found)
    machine = f"{processors.detect()}, ONNX Runtime {onnxruntime.__version__}"
    print(f"{args.folder.name}: microseconds a query (nodes), {machine}")
    print(result.to_string())


if __name__ == "__main__":
    main()
