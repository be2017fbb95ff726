"""What each node of a model takes, from ONNX Runtime's own profiler."""

import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import onnxruntime

from beansweep.common import files

QUERIES, WARMUP = 200, 20
# How the profiler names what a node took.
_TIMED = "_kernel_time"

# Kind and name of a node.
Node = tuple[str, str]


def node_times(
    model: Path | bytes, options: onnxruntime.SessionOptions, feed: dict[str, np.ndarray]
) -> dict[Node, float]:
    """Run a model under ONNX Runtime's profiler: microseconds of each node."""
    options.enable_profiling = True
    durations = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        for _ in range(QUERIES):
            session.run(None, feed)
        events = files.read_json(session.end_profiling())
    for event in events:
        name = event["name"]
        if event.get("cat") == "Node" and name.endswith(_TIMED):
            durations[event["args"]["op_name"], name.removesuffix(_TIMED)].append(event["dur"])
    return {node: float(np.median(of_node[WARMUP:])) for node, of_node in durations.items()}
