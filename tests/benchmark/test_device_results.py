"""Times from another machine: the front that follows from them, and files that are refused."""

import pandas as pd
import pytest
import synthetic
from beansweep.analysis import candidates
from beansweep.benchmark import device_results
from beansweep.common.errors import UserError
from beansweep.report import device_section

BACKBONES = ["mobilenet_v3_small", "efficientnet_b0"]
VARIANTS = ["fp32", "int8_ort_default", "int8_static"]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A folder with a sweep of six candidates."""
    folder = tmp_path_factory.mktemp("made-up")
    synthetic.write(folder, BACKBONES, VARIANTS, images=8)
    return folder


@pytest.fixture(scope="module")
def table(sweep):
    return found(sweep).table


def found(sweep, variants=VARIANTS):
    """The candidates of a sweep."""
    return candidates.read(
        sweep / "results",
        BACKBONES,
        variants,
        synthetic.GOOD,
        synthetic.CONFIG["deploy"],
        synthetic.CONFIG["report"],
    )


@pytest.fixture
def measured(tmp_path):
    """`synthetic.device`, in a folder of the test's own."""
    return lambda *which, **changes: synthetic.device(tmp_path, *which, **changes)


def read(paths, table, sweep, here="AVX512-VNNI"):
    return device_results.read("target", paths, table, sweep / "results", here, 0.95)


def test_the_front_of_a_device_is_drawn_from_its_own_times(sweep, table, measured):
    # On the device the order is the other way round.
    paths = [
        measured("mobilenet_v3_small", "fp32", 3.0),
        measured("mobilenet_v3_small", "int8_static", 9.0),
        measured("efficientnet_b0", "int8_static", 1.0),
    ]
    found = read(paths, table, sweep)
    assert list(found.table.index) == [
        "mobilenet_v3_small:fp32",
        "mobilenet_v3_small:int8_static",
        "efficientnet_b0:int8_static",
    ]
    assert set(found.missing) == set(table.index) - set(found.table.index)
    row = found.table.loc["mobilenet_v3_small:int8_static"]
    assert row["p50_ms"] == pytest.approx(9, rel=0.05)
    assert row["p50_low_ms"] < row["p50_ms"] < row["p50_high_ms"]
    assert row["speedup"] == pytest.approx(1 / 3, rel=0.01)
    assert row["test_macro_f1"] == table.loc[row.name, "test_macro_f1"]
    assert not row["front"]
    assert found.table.loc["efficientnet_b0:int8_static", "front"]


@pytest.mark.parametrize(
    ("here", "changed"), [("AVX512-VNNI", ["mobilenet_v3_small:int8_ort_default"]), ("AVX2", [])]
)
def test_candidates_that_saturate_on_one_machine_only_are_named(
    sweep, table, measured, here, changed
):
    paths = [measured("mobilenet_v3_small", variant) for variant in VARIANTS]
    found = read(paths, table, sweep, here)
    assert found.machine["instruction_set"] == "AVX2"
    # int8_static has 7-bit weights.
    assert found.changed == changed
    assert found.disagreeing == {}
    words = device_section.describe(found, {"cpu": "here", "instruction_set": here}, table, None)
    assert ("Accuracy is different there" in words) == bool(changed)
    assert "came out as here" in words


def test_a_device_that_computes_other_outputs_is_named(sweep, table, measured):
    message = "this device computes sour"
    path = measured("mobilenet_v3_small", "int8_static", check={"agrees": False, "said": message})
    found = read([path], table, sweep)
    assert found.disagreeing == {"mobilenet_v3_small:int8_static": message}
    words = device_section.describe(found, {"cpu": "here", "instruction_set": "AVX2"}, table, None)
    line = f"`mobilenet_v3_small` `int8_static` computes something else there**: {message}."
    assert line in words
    assert "came out as here" not in words


def test_a_device_decides_under_another_limit_as_all_candidates_do(sweep, measured):
    every = found(sweep)
    device = read([measured("mobilenet_v3_small", "fp32")], every.table, sweep)
    under = every.under({**synthetic.CONFIG["deploy"], "max_missed_defect_rate": 0.4})
    decided = device_results.with_decisions(device.table, under)
    row = decided.loc["mobilenet_v3_small:fp32"]
    assert row["ship_below"] == under.loc[row.name, "ship_below"]
    assert row["ship_below"] > every.table.loc[row.name, "ship_below"]
    assert row["p50_ms"] == device.table.loc[row.name, "p50_ms"]
    for column in candidates.COMPARISON_COLUMNS:
        assert row[column] == []


def test_a_file_may_be_of_any_of_the_variants_that_are_the_same_file(tmp_path, measured):
    synthetic.write(tmp_path, BACKBONES, VARIANTS, images=8)
    folder = tmp_path / "results/mobilenet_v3_small"
    (folder / "int8_static.json").write_bytes((folder / "int8_ort_default.json").read_bytes())
    table = found(tmp_path).table
    assert table.loc["mobilenet_v3_small:int8_ort_default", "also"] == ["int8_static"]
    path = measured(
        "mobilenet_v3_small",
        "int8_static",
        candidate={
            "backbone": "mobilenet_v3_small",
            "variant": "int8_static",
            "sha256": "digest of mobilenet_v3_small int8_ort_default",
        },
    )
    device = read([path], table, tmp_path)
    assert device.table.index.tolist() == ["mobilenet_v3_small:int8_ort_default"]


def candidate(backbone: str, sha256: str) -> dict:
    """What a device's file says of which candidate it is."""
    return {"candidate": {"backbone": backbone, "variant": "fp32", "sha256": sha256}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (candidate("resnet18", ""), "is not a candidate of this sweep"),
        (
            candidate("efficientnet_b0", "of an earlier training"),
            "was measured with another model than efficientnet_b0 fp32 is now: "
            "bundle the model and run predict.py --bench on the device again",
        ),
        (
            candidate("mobilenet_v3_small", "digest of mobilenet_v3_small fp32"),
            "are both of mobilenet_v3_small fp32: keep one",
        ),
        ({"settings": {"threads": 4}}, "differ in processor, ONNX Runtime or threads"),
        ({"samples_ms": None}, "is not what predict.py --bench writes"),
        ({"machine": None}, "is not what predict.py --bench writes"),
        ({"candidate": None}, "is not what predict.py --bench writes"),
    ],
    ids=["unknown", "changed", "twice", "other threads", "no times", "no machine", "no candidate"],
)
def test_a_file_that_does_not_belong_is_refused_in_one_sentence(
    sweep, table, measured, changes, words
):
    good = measured("mobilenet_v3_small", "fp32")
    bad = measured("efficientnet_b0", "fp32", 5.0, **changes)
    with pytest.raises(UserError) as error:
        read([good, bad], table, sweep)
    assert str(error.value).startswith("bench.device_results.target: ")
    assert words in str(error.value)
    assert str(bad) in str(error.value)
    assert "\n" not in str(error.value)


def test_the_report_says_which_machine_the_times_are_from(sweep, measured):
    paths = [
        str(measured("mobilenet_v3_small", "fp32", 3.0)),
        str(measured("efficientnet_b0", "int8_static", 1.0)),
    ]
    result = synthetic.report(sweep, BACKBONES, VARIANTS, devices={"target": paths})
    assert result.returncode == 0, result.stderr
    text = (sweep / "results/pareto.md").read_text()
    section = text[text.index("## On target") : text.index("## Data")]
    for words in (
        "Times are from **Cortex** (AVX2, 4 cores",
        "These were not measured there and are left out: `mobilenet",
        "`efficientnet_b0` `int8_static`",
        "figures/front-target.png",
        "p50 ms, target",
    ):
        assert words in section
    assert (sweep / "results/figures/front-target.png").stat().st_size > 5000
    table = pd.read_csv(sweep / "results/pareto.csv").set_index(["backbone", "variant"])
    assert table.loc[("efficientnet_b0", "int8_static"), "p50_ms_on_target"] == pytest.approx(
        1, rel=0.05
    )
    assert table["p50_ms_on_target"].isna().sum() == 4
    assert "target (Cortex)" in (sweep / "results/report.html").read_text()
