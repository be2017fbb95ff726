"""The accuracy drop: split in two, and its cause in words."""

import pandas as pd
import pytest
from beansweep.analysis import accuracy_drop

RECIPE = {
    "quantizer": "static",
    "reduce_range": True,
    "weight_type": "QInt8",
    "activation_type": "QUInt8",
}
SAME = {"changed_images": 0, "kernel_agreement": 1, "quantization_agreement": 1}
MOVED = {"weights": 9, "weights_moved": 0, "biases": 4, "biases_moved": 3}


def predicted(wrong):
    """Predictions of 1000 images of two classes, the first so many of them wrong."""
    true = ["a", "b"] * 500
    names = ["b" if name == "a" else "a" for name in true[:wrong]] + true[wrong:]
    return pd.DataFrame(
        {
            "path": range(1000),
            "split": "test",
            "class": true,
            "predicted": names,
            "p_a": 0.5,
            "p_b": 0.5,
        }
    )


def test_the_accuracy_drop_is_split_in_two_and_explained():
    figures = accuracy_drop.split(predicted(10), predicted(30), predicted(130))
    assert figures["quantization_drop"] == pytest.approx(0.02, abs=1e-3)
    assert figures["kernel_drop"] == pytest.approx(0.1, abs=1e-3)
    assert figures["quantization_agreement"] == pytest.approx(0.98)
    assert figures["kernel_agreement"] == pytest.approx(0.9)
    eight_bits = {**RECIPE, "reduce_range": False}
    assert "saturate" in accuracy_drop.finding(figures, eight_bits, "AVX2", None)
    assert accuracy_drop.finding(figures, eight_bits, "AVX512-VNNI", None).startswith(
        "integer kernels round"
    )
    assert accuracy_drop.finding(SAME, RECIPE, "AVX2", None) == "lossless"


def finding_of_training(chosen, *scores):
    """The finding of a model that was trained; a score (divergence, macro-F1) for each epoch."""
    recipe = {
        "quantizer": "qat",
        "base": "int8_static",
        "equals_base": chosen == 0,
        "chosen_epoch": chosen,
        "trials": [{"kl": kl, "macro_f1": macro_f1, **MOVED} for kl, macro_f1 in scores],
    }
    return accuracy_drop.finding(SAME, recipe, "AVX2", None)


def test_the_finding_says_what_training_did_also_where_macro_f1_fell():
    assert finding_of_training(0, (0.01, 0.9), (0.02, 0.8)).startswith("equals int8_static")
    better = finding_of_training(1, (0.01, 0.9), (0.005, 0.9))
    assert better.endswith("from 0.01 to 0.005 nats")
    assert "0 of 9 weights and 3 of 4 biases (bias tuning)" in better
    fell = finding_of_training(1, (0.01, 0.9), (0.005, 0.89))
    assert "macro-F1 there from 0.9000 to 0.8900" in fell
