"""The text on the finalists, which were timed together, and on times of other machines."""

import pytest
import synthetic
from beansweep.analysis import candidates
from beansweep.common import files
from beansweep.report import timed_together

NETS = ["mobilenet_v3_small", "mobilenet_v3_large"]
VARIANTS = ["fp32", "int8_static"]
SMALL, LARGE = (f"{net}:int8_static" for net in NETS)


@pytest.fixture
def sweep(tmp_path):
    """The folder of a sweep of four candidates."""
    synthetic.write(tmp_path, NETS, VARIANTS, images=4)
    return tmp_path / "results"


def text(sweep, together):
    report = synthetic.CONFIG["report"]
    deploy = synthetic.NO_LIMITS
    found = candidates.read(
        sweep, NETS, VARIANTS, synthetic.GOOD, deploy, report, together=together
    )
    return timed_together.text(found.table, together)


def test_finalists_are_named_with_their_ratio_to_the_fastest(sweep):
    words = text(sweep, synthetic.finalists({LARGE: 2.0, SMALL: 1.0}))
    assert words.startswith(
        "`mobilenet_v3_small` `int8_static`, `mobilenet_v3_large` `int8_static`"
    )
    assert ": 2 candidates could be the pick." in words
    assert (
        "timed again, together, in 3 fresh processes. Timing ended when their order was known"
        in words
    )
    rows = [line for line in words.splitlines() if line.startswith("| `mobilenet_v3_large`")]
    assert len(rows) == 1
    ratio = float(rows[0].split(" | ")[1])
    assert ratio == pytest.approx(2, rel=0.05)
    assert "bench.finalist_minutes" in text(
        sweep, synthetic.finalists({LARGE: 2.0, SMALL: 1.0}, stopped="time")
    )


def test_one_finalist_has_no_ratio_and_none_has_no_text(sweep):
    words = text(sweep, synthetic.finalists({SMALL: 1.0}))
    assert "1 candidate could be the pick. It was timed again in 3 fresh processes." in words
    assert "|" not in words
    assert text(sweep, synthetic.finalists({})) == ""


def test_what_times_are_multiplied_by_is_said(sweep):
    words = text(sweep, synthetic.finalists({SMALL: 5.0, LARGE: 6.0}))
    assert "the times of the other candidates are multiplied" in words
    assert "for `mobilenet_v3_small`" in words


def test_times_of_another_machine_are_said_with_what_to_do(sweep):
    path = sweep / "mobilenet_v3_large/latency.json"
    bench = files.read_json(path)
    files.write_json(path, {**bench, "machine": {**bench["machine"], "cpu": "another"}})
    words = text(sweep, synthetic.finalists({SMALL: 1.0}))
    assert "**Timed on another machine: `mobilenet_v3_large` (another, AVX512-VNNI" in words
    assert "those of this one (made up, AVX512-VNNI, ONNX Runtime 1.32.0, 1 thread)" in words
    assert "remove `results/mobilenet_v3_large/latency.json` and run again" in words
