"""Range narrowing: what is left out of a range makes no difference."""

import numpy as np
import pytest
import small_network
from onnx import helper
from small_network import IDENTITY, graph_of, identity_convolution


@pytest.mark.parametrize(
    ("kind", "curve", "gain"),
    [("Sigmoid", lambda x: 1 / (1 + np.exp(-x)), 4), ("SiLU", lambda x: x / (1 + np.exp(-x)), 2)],
)
def test_a_narrowed_range_leaves_out_what_makes_no_difference(tmp_path, kind, curve, gain):
    """Inputs from -40 to 15: a sigmoid's count from -6.2 to 6.2, and a SiLU's from about -5 on."""
    nodes = [helper.make_node("Sigmoid", ["linear"], ["curved" if kind == "Sigmoid" else "gate"])]
    if kind == "SiLU":
        nodes.append(helper.make_node("Mul", ["linear", "gate"], ["curved"]))
    first = identity_convolution("image", "linear")
    last = identity_convolution("curved", "logits")
    model = graph_of([first, *nodes, last], [1, 3, 16, 16], IDENTITY)
    (tmp_path / "fp32.onnx").write_bytes(small_network.saved(model))
    ramp = np.resize(np.linspace(-40, 15, 768, dtype=np.float32), (1, 3, 16, 16))
    prepared = small_network.prepare(tmp_path / "fp32.onnx", ramp)
    as_seen = small_network.calibrate(prepared, ramp).bounds()
    narrowed = small_network.calibrate(prepared, ramp, narrow_ranges=True).bounds()
    (low, high), (least, most) = narrowed["linear"], narrowed["curved"]
    x = ramp.astype(np.float64)
    assert np.abs(curve(np.clip(x, low, high)) - curve(x)).max() <= 1.001 * (most - least) / 255 / 2
    assert np.ptp(as_seen["linear"]) == pytest.approx(55)
    assert high - low < 55 / gain
