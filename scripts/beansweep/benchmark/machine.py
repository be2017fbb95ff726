"""The machine that latency is measured on."""

import os
import platform
from pathlib import Path

import cpuinfo
import onnxruntime

from beansweep.common import processors


def describe() -> dict:
    """What the figures depend on beside the models: processor, instruction set, versions, load."""
    info = cpuinfo.get_cpu_info()
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return {
        "cpu": info.get("brand_raw", platform.processor()),
        "instruction_set": processors.detect(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "load_average": list(os.getloadavg()),
        "governor": governor.read_text().strip() if governor.exists() else "unknown",
    }
