"""Time of each kind of operator, FP32 beside every INT8 variant of a backbone.

    python scripts/tools/operator_profile.py results/mobilenet_v3_small [--variants fp32 int8_static ...]

Shows what the latency of a variant is made of, and so what a rewrite or a kernel could still save.
Times are microseconds a query from ONNX Runtime's own profiler, medians over queries added up over
nodes; the profiler itself costs time in every node, so the sums are above the p50 of the bench.
"""

import argparse
import os
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from beansweep.common import files, processors
from beansweep.models import onnx_session

QUERIES, WARMUP = 200, 20


def profile(metadata: Path) -> tuple[Counter, Counter]:
    """Microseconds and nodes of each operator kind of one model."""
    session, contents = onnx_session.load(metadata)
    size = contents["preprocessing"]["image_size"]
    image = np.random.default_rng(0).normal(size=(1, 3, size, size)).astype(np.float32)
    options = session.get_session_options()
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(
            metadata.with_name(contents["model"]), options, providers=["CPUExecutionProvider"]
        )
        for _ in range(QUERIES):
            onnx_session.logits(session, image)
        events = files.read_json(session.end_profiling())
    nodes = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            nodes[event["args"]["op_name"], event["name"]].append(event["dur"])
    times, counts = Counter(), Counter()
    for (kind, _), durations in nodes.items():
        times[kind] += float(np.median(durations[WARMUP:]))
        counts[kind] += 1
    return times, counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a backbone's folder of results")
    parser.add_argument("--variants", nargs="+", default=None)
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    variants = args.variants or sorted(
        path.stem for path in args.folder.glob("*.json") if path.stem != "latency"
    )
    columns = {}
    for variant in variants:
        times, counts = profile(args.folder / f"{variant}.json")
        columns[variant] = pd.Series(
            {kind: f"{time:.0f} ({counts[kind]})" for kind, time in times.items()}
        )
        columns[variant]["all"] = f"{sum(times.values()):.0f} ({sum(counts.values())})"
    table = pd.DataFrame(columns).fillna("")
    table = table.loc[[*sorted(set(table.index) - {"all"}), "all"]]
    print(
        f"{args.folder.name}: microseconds (nodes), {processors.detect()}, ORT {onnxruntime.__version__}"
    )
    print(table.to_string())


if __name__ == "__main__":
    main()
