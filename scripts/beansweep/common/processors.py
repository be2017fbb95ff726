"""What a processor has for INT8, and what follows for the ranges of a quantized model."""

import os
import platform
from functools import cache
from pathlib import Path

# By processor flag, best first: the flags of Linux and, where they differ, of py-cpuinfo.
_BY_FLAG = {
    "amx_int8": "AMX",
    "avx512_vnni": "AVX512-VNNI",
    "avx512vnni": "AVX512-VNNI",
    "avx_vnni": "AVX-VNNI",
    "avx512bw": "AVX512",
    "avx2": "AVX2",
    "i8mm": "ARM i8mm",
    "asimddp": "ARM dotprod",
    "asimd": "ARM NEON",
}
NAMES = tuple(dict.fromkeys(_BY_FLAG.values()))


@cache
def detect() -> str:
    """This machine's instruction set for INT8: one of `NAMES`, or the architecture's name."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = (line.partition(":") for line in cpuinfo.read_text().splitlines())
        flags = next(
            (value.split() for key, _, value in lines if key.strip() in ("flags", "Features")), []
        )
    else:
        from cpuinfo import get_cpu_info

        flags = get_cpu_info().get("flags", [])
    return of_flags(flags, platform.machine())


def of_flags(flags: list[str], architecture: str) -> str:
    """A processor's instruction set for INT8 by its flags: one of `NAMES`, or else the architecture's name."""
    return next((name for flag, name in _BY_FLAG.items() if flag in flags), architecture)


def is_arm(name: str) -> bool:
    """Whether an instruction set is one of ARM's."""
    return name.startswith("ARM") or name in ("aarch64", "arm64")


def saturates(name: str) -> bool:
    """Whether kernels of unsigned by signed bytes add pairs of products in 16 bits, and so saturate.

    x86 without VNNI does (onnxruntime.ai, "Quantize ONNX models", on reduce_range).
    """
    return not is_arm(name) and name not in ("AMX", "AVX512-VNNI", "AVX-VNNI")


def resolve(recipe: dict, name: str) -> dict:
    """A recipe with every `auto` settled for the machines that have this instruction set.

    7-bit weights where kernels would saturate; signed activations on ARM, whose kernels are for
    signed by signed; otherwise unsigned activations, which every x86 kernel takes.
    """
    auto = {
        "reduce_range": saturates(name),
        "activation_type": "QInt8" if is_arm(name) else "QUInt8",
    }
    return {
        key: auto[key] if value == "auto" and key in auto else value
        for key, value in recipe.items()
    }


def cpus() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
