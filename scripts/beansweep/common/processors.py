"""Instruction sets for INT8, and what follows from them for a quantized model."""

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
    return of_flags(_flags(), platform.machine())


def _flags() -> list[str]:
    """The flags of this machine's first processor."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        from cpuinfo import get_cpu_info

        return get_cpu_info().get("flags", [])
    for line in cpuinfo.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return value.split()
    return []


def of_flags(flags: list[str], architecture: str) -> str:
    """A processor's instruction set for INT8.

    Parameters
    ----------
    flags : the processor's flags, as Linux or py-cpuinfo names them
    architecture : such as `x86_64`

    Returns
    -------
    The best one of `NAMES`, or the architecture's name
    """
    for flag, name in _BY_FLAG.items():
        if flag in flags:
            return name
    return architecture


def is_arm(name: str) -> bool:
    """Whether an instruction set is one of ARM's."""
    return name.startswith("ARM") or name in ("aarch64", "arm64")


def saturates(name: str) -> bool:
    """Whether kernels of unsigned by signed bytes add pairs of products in 16 bits: they saturate.

    x86 without VNNI does (onnxruntime.ai, "Quantize ONNX models", on reduce_range).
    """
    return not is_arm(name) and name not in ("AMX", "AVX512-VNNI", "AVX-VNNI")


def computes_otherwise(name: str) -> bool:
    """Whether integer kernels saturate here and not on an instruction set, or the reverse."""
    return saturates(name) != saturates(detect())


def resolve(recipe: dict, name: str) -> dict:
    """A recipe with every `auto` settled for the machines that have an instruction set.

    Weights get 7 bits where kernels would saturate. Activations are signed on ARM, which has
    kernels for signed by signed bytes, and unsigned elsewhere: every x86 kernel takes those.

    Parameters
    ----------
    recipe : how a variant is made
    name : the instruction set
    """
    resolved = dict(recipe)
    if recipe.get("reduce_range") == "auto":
        resolved["reduce_range"] = saturates(name)
    if recipe.get("activation_type") == "auto":
        resolved["activation_type"] = "QInt8" if is_arm(name) else "QUInt8"
    return resolved
