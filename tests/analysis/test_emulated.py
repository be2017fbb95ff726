"""Decisions on an emulated device, compared with those of here on predictions that are made up."""

import numpy as np
import pandas as pd
import pytest
import synthetic
from beansweep.analysis import candidates, emulated, portability
from beansweep.analysis.operating_point import OperatingPoint
from beansweep.data import manifest
from beansweep.evaluation import predictions

BACKBONES, VARIANTS = ["mobilenet_v3_small"], ["fp32", "int8_static"]
NAME = "mobilenet_v3_small:int8_static"
# So many of the few defects may be missed that most good ones are shipped.
DEPLOY = {**synthetic.CONFIG["deploy"], "max_missed_defect_rate": 0.3}


def table(scores: list[float], split: str = "test") -> pd.DataFrame:
    """Predictions of a network with two classes, by the probability of the defect."""
    bad = np.array(scores)
    return pd.DataFrame(
        {
            "path": [f"{number}.png" for number in range(len(bad))],
            "split": split,
            "class": "bad",
            "predicted": np.where(bad > 0.5, "bad", "good"),
            "p_bad": bad,
            "p_good": 1 - bad,
        }
    )


def test_what_crosses_a_threshold_is_decided_otherwise():
    here, there = table([0.1, 0.3, 0.5, 0.7]), table([0.1, 0.35, 0.4, 0.75])
    found = emulated.compare(here, there, OperatingPoint(0.32, 0.45), ["good"], 0.95)
    # The second and the third now go to a person.
    assert (found["images"], found["otherwise"]) == (4, 2)
    assert found["largest_difference"] == pytest.approx(0.1)
    assert found["otherwise_low"] < 0.5 < found["otherwise_high"]


def test_without_a_good_class_the_likeliest_class_is_the_decision():
    here, there = table([0.1, 0.45]), table([0.4, 0.55])
    point = OperatingPoint(float("nan"), float("nan"))
    assert emulated.compare(here, there, point, None, 0.95)["otherwise"] == 1


def test_images_are_compared_by_their_paths_where_some_were_emulated():
    here = table([0.1, 0.3, 0.5, 0.7])
    there = here.iloc[[1, 3]].reset_index(drop=True)
    found = emulated.compare(here, there, OperatingPoint(0.4, 0.4), ["good"], 0.95)
    assert (found["images"], found["otherwise"], found["largest_difference"]) == (2, 0, 0)
    assert found["otherwise_high"] > 0.5


@pytest.mark.parametrize(
    ("here", "there", "words"),
    [
        ("AVX2", "aarch64", "its kernels saturate here and not there"),
        ("AVX512-VNNI", "x86_64", "its kernels may saturate there"),
        ("AVX2", "x86_64", ""),
        ("ARM dotprod", "aarch64", ""),
    ],
)
def test_saturation_on_one_machine_alone_is_a_cause(here, there, words):
    recipe = {"weight_type": "QInt8", "reduce_range": False}
    assert portability.saturation(recipe, here, there) == words
    assert portability.saturation({**recipe, "reduce_range": True}, here, there) == ""
    assert portability.saturation({}, here, there) == ""


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A made-up sweep whose INT8 predicts otherwise on the device, and its candidates."""
    tmp_path = tmp_path_factory.mktemp("made-up")
    synthetic.write(tmp_path, BACKBONES, [*VARIANTS, "int8_ort_default"], images=8)
    folder = tmp_path / "results" / BACKBONES[0]
    synthetic.emulate(tmp_path, BACKBONES, VARIANTS, "pi", NAME)
    images = manifest.read(tmp_path / "results/dataset/manifest.csv")
    found = candidates.read(
        tmp_path / "results",
        BACKBONES,
        [*VARIANTS, "int8_ort_default"],
        synthetic.GOOD,
        DEPLOY,
        synthetic.CONFIG["report"],
        ["int8_ort_default"],
        manifest.groups(images),
    )
    device = emulated.read(
        folder.parent,
        "pi",
        "cortex-a76",
        found,
        synthetic.GOOD,
        manifest.groups(images),
        ["int8_ort_default"],
        "AVX512-VNNI",
    )
    return found, device, folder


def test_accuracy_is_that_of_the_device_at_the_thresholds_of_here(sweep):
    found, device, folder = sweep
    assert list(device.table.index) == ["mobilenet_v3_small:fp32", NAME]
    own, other = found.table.loc[NAME], device.table.loc[NAME]
    assert other["ship_below"] == own["ship_below"]
    assert other["test_macro_f1"] < own["test_macro_f1"]
    rows = predictions.read(folder / "emulated/pi/int8_static.csv")
    good = rows[(rows["split"] == "test") & (rows["class"] == "good")]
    rejected = 1 - good["p_good"] >= own["ship_below"]
    assert other["test_rejected_good_count"] == rejected.sum()
    same = device.table.loc["mobilenet_v3_small:fp32"]
    assert same["test_macro_f1"] == found.table.loc[same.name, "test_macro_f1"]
    assert device.differences.loc[same.name, "otherwise"] == 0
    assert device.differences.loc[NAME, "otherwise"] > 0


def test_under_another_limit_thresholds_are_still_those_of_here(sweep):
    found, device, _ = sweep
    deploy = {**DEPLOY, "max_missed_defect_rate": 0.4}
    under = found.under(deploy)
    decided = device.onto(under, deploy, 0.95)
    assert list(decided.index) == list(found.table.index)
    assert decided.loc[NAME, "ship_below"] == under.loc[NAME, "ship_below"]
    assert decided.loc[NAME, "test_macro_f1"] == device.table.loc[NAME, "test_macro_f1"]
    baseline = "mobilenet_v3_small:int8_ort_default"
    for column in ("test_macro_f1", "val_rejected_good_rate"):
        assert decided.loc[baseline, column] == under.loc[baseline, column]
    assert isinstance(decided.loc[NAME, "val_beaten_by"], list)
