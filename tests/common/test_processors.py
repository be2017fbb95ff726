"""Instruction sets, and what follows from them for a recipe."""

import pytest
from beansweep.common import processors
from conftest import kernels_saturate


def test_the_processors_flags_tell_whether_its_kernels_saturate():
    """Not under an emulator, which shows the flags of the machine that it runs on."""
    assert processors.saturates(processors.detect()) == kernels_saturate()


@pytest.mark.parametrize(
    "name, reduce_range, activation",
    [
        ("AVX2", True, "QUInt8"),
        ("AVX512", True, "QUInt8"),
        ("AVX512-VNNI", False, "QUInt8"),
        ("ARM dotprod", False, "QInt8"),
    ],
)
def test_auto_follows_the_instruction_set(name, reduce_range, activation):
    recipe = {"reduce_range": "auto", "activation_type": "auto", "per_channel": True}
    assert processors.resolve(recipe, name) == {
        "reduce_range": reduce_range,
        "activation_type": activation,
        "per_channel": True,
    }
    assert processors.resolve({"reduce_range": False}, name) == {"reduce_range": False}


def test_kernels_compute_otherwise_where_those_of_one_machine_saturate(monkeypatch):
    monkeypatch.setattr(processors, "detect", lambda: "AVX2")
    assert processors.computes_otherwise("ARM dotprod")
    assert processors.computes_otherwise("AVX512-VNNI")
    assert not processors.computes_otherwise("AVX512")
    monkeypatch.setattr(processors, "detect", lambda: "AMX")
    assert processors.computes_otherwise("AVX2")
    assert not processors.computes_otherwise("ARM i8mm")
