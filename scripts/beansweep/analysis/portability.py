"""Whether a model predicts otherwise on another instruction set."""

import pandas as pd

from beansweep.common import processors


def may_saturate(recipe: dict) -> bool:
    """Whether a model's accuracy is another on x86 without VNNI: 8-bit signed weights, unsigned activations."""
    return (
        recipe["quantizer"] != "weight_only"
        and not recipe["reduce_range"]
        and recipe["weight_type"] == "QInt8"
        and recipe.get("activation_type", "QUInt8") == "QUInt8"
    )


def warning(recipe: dict, machine: str, layers: pd.DataFrame | None) -> str | None:
    """A warning where a model's accuracy will be another on another instruction set; else None."""
    if not may_saturate(recipe):
        return None
    if processors.saturates(machine):
        return f"saturates here ({machine}); on VNNI and ARM its accuracy will be another"
    if layers is None:
        return f"measured on {machine}, which does not saturate; on x86 without VNNI its accuracy will be another"
    worst = layers.sort_values("saturating", ascending=False).iloc[0]
    hit = int((layers["saturating"] > 0).sum())
    return (
        f"measured on {machine}, which does not saturate; on x86 without VNNI {hit} of its layers would, "
        f"`{worst['layer']}` most ({worst['saturating']:.2%} of its sums): for such a machine set "
        "quantization.instruction_set: AVX2"
    )
