"""Warnings where another machine would compute something else."""

from beansweep.analysis import portability

RECIPE = {
    "quantizer": "static",
    "reduce_range": True,
    "weight_type": "QInt8",
    "activation_type": "QUInt8",
}


def test_a_warning_where_another_machine_would_compute_something_else():
    eight_bits = {**RECIPE, "reduce_range": False}
    assert "without VNNI" in portability.warning(eight_bits, "AVX512-VNNI", None)
    assert "saturates here" in portability.warning(eight_bits, "AVX2", None)
    assert portability.warning(RECIPE, "AVX512-VNNI", None) is None
    assert portability.warning({"quantizer": "weight_only"}, "AVX2", None) is None
