"""The cause of an accuracy drop, in words."""

import pandas as pd
import pytest
from beansweep.analysis import accuracy_drop, portability

RECIPE = {"quantizer": "static", "weight_type": "QInt8", "reduce_range": True}
AGREES = {"quantization_agreement": 1.0, "kernel_agreement": 1.0, "changed_images": 0}
HURT = {"quantization_agreement": 0.9, "kernel_agreement": 1.0}


def finding(figures, layers=None, recipe=RECIPE):
    return accuracy_drop.finding(figures, recipe, "AVX512-VNNI", layers)


def predictions(predicted):
    """Predictions of test images of two classes, with an image of another split first."""
    rows = pd.DataFrame({"predicted": ["a", *predicted], "class": "a", "p_a": 0.5, "p_b": 0.5})
    rows["path"], rows["split"] = range(len(rows)), ["val"] + ["test"] * len(predicted)
    return rows


def test_lossless_is_what_changes_no_prediction():
    assert finding(AGREES) == "lossless"


def test_what_a_network_is_quantized_without_is_said():
    recipe = {**RECIPE, "undone_rewrites": ["padding"], "nearest_rounding": ["fc1", "fc2"]}
    assert finding(AGREES, recipe=recipe) == (
        "rewrites that do not fit: padding; 2 layers too wide for GPTQ, rounded to nearest"
    )


@pytest.mark.parametrize("part", ["quantization_agreement", "kernel_agreement"])
def test_too_few_changes_for_a_cause_are_counted(part):
    figures = {**AGREES, part: 719 / 720}
    counts = {"changed_images": 3, "test_images": 720}
    assert finding({**figures, **counts}) == "3 of 720 images changed"


def test_changed_images_are_those_that_int8_as_deployed_predicts_otherwise():
    fp32 = predictions("aaaa")
    found = accuracy_drop.split(fp32, predictions("abaa"), predictions("abba"))
    assert (found["changed_images"], found["test_images"]) == (2, 4)
    assert found["quantization_agreement"] == 0.75
    # The same test images, without the image of the other split.
    again = accuracy_drop.split(fp32, predictions("abaa").iloc[1:], predictions("abba").iloc[1:])
    assert again == found


def layers(*rows):
    return pd.DataFrame(rows, columns=["layer", "kl", "clipped", "used"])


def test_the_reader_of_a_clipped_range_is_named_where_its_writer_is_hurt_as_much():
    table = layers(("writer", 1.0, 0, 0.9), ("reader", 0.6, 0.25, 0.9), ("rest", 0.01, 0, 0.9))
    assert finding(HURT, table) == "the range of what `reader` reads clips 25.0% of it"


def test_a_clipped_range_that_hurts_little_is_not_the_cause():
    table = layers(("worst", 1.0, 0, 0.9), ("reader", 0.4, 0.25, 0.9))
    assert finding(HURT, table) == "`worst` is the layer most sensitive to 8 bits"


def test_a_stretched_range_of_the_most_sensitive_layer_is_named():
    table = layers(("worst", 1.0, 0, 0.04), ("rest", 0.01, 0, 0.9))
    assert finding(HURT, table).endswith("`worst` reads: 99.8% of it lies in 4% of the range")


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({"weight_type": "QInt8", "reduce_range": False, "activation_type": "QUInt8"}, True),
        ({"weight_type": "QInt8", "reduce_range": False}, True),
        ({"weight_type": "QInt8", "reduce_range": True}, False),
        ({"weight_type": "QUInt8", "reduce_range": False}, False),
        ({"weight_type": "QInt8", "reduce_range": False, "activation_type": "QInt8"}, False),
        ({"rounding": "gptq"}, False),
        ({}, False),
    ],
)
def test_what_may_saturate_follows_from_the_recipe_without_the_name_of_its_quantizer(
    recipe, expected
):
    for quantizer in ("static", "one of tomorrow"):
        assert portability.may_saturate({**recipe, "quantizer": quantizer}) == expected
