"""Slowness: a variant that is slower than FP32 says what it spends time on."""

from beansweep.analysis import slowness

RECIPE = {
    "conversions": 58,
    "float_operators": {"QuickGelu": 31, "Softmax": 9, "Erf": 2, "Sin": 1},
    "grouped_layers": 13,
}


def test_a_variant_that_is_not_shown_to_be_slower_says_nothing():
    assert slowness.finding(None, RECIPE) == ""
    assert slowness.finding(1.02, RECIPE) == ""


def test_a_slower_variant_names_its_grouped_layers_and_the_operators_in_float():
    text = slowness.finding(0.9, RECIPE)
    assert text.startswith("slower than FP32: 13 grouped convolutions")
    assert "58 conversions" in text
    assert "31 QuickGelu and 9 Softmax and 2 Erf" in text


def test_a_slower_variant_without_such_operators_is_still_called_slower():
    assert slowness.finding(0.9, {}) == "slower than FP32"
