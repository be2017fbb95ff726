"""Whether a model gives other predictions on another instruction set."""

import pandas as pd

from beansweep.common import processors


def may_saturate(recipe: dict) -> bool:
    """Whether integer kernels of x86 without VNNI may saturate, and so change the accuracy.

    They may with 8-bit signed weights and unsigned activations. A recipe without `weight_type`
    computes in float, and one without `activation_type` has unsigned activations.

    Parameters
    ----------
    recipe : of a variant, with no `auto` left
    """
    return (
        recipe.get("weight_type") == "QInt8"
        and not recipe["reduce_range"]
        and recipe.get("activation_type", "QUInt8") == "QUInt8"
    )


def saturation(recipe: dict, here: str, there: str) -> str:
    """That a model's integer kernels saturate on one of two machines alone; empty where not.

    Parameters
    ----------
    recipe : of the variant; empty for FP32
    here, there : instruction sets; or an architecture, for a processor that is known no better.
        Of x86, those with AVX2 saturate, and those before it do not
    """
    first, second = processors.saturates(here), processors.saturates(there)
    if not recipe or first == second or not may_saturate(recipe):
        return ""
    return "its kernels saturate here and not there" if first else "its kernels may saturate there"


def warning(recipe: dict, machine: str, layers: pd.DataFrame | None) -> str | None:
    """A warning where the accuracy of a model may differ on another instruction set.

    Parameters
    ----------
    recipe : of the variant
    machine : instruction set that the accuracy was measured on
    layers : the variant's table of layer sensitivities, where there is one

    Returns
    -------
    None where there is nothing to warn of.
    """
    if not may_saturate(recipe):
        return None
    if processors.saturates(machine):
        return f"saturates here ({machine}); accuracy may differ on VNNI and on ARM"
    measured = f"measured on {machine}, which does not saturate"
    if layers is None:
        return f"{measured}; accuracy may differ on x86 without VNNI"
    worst = layers.sort_values("saturating", ascending=False).iloc[0]
    count = int((layers["saturating"] > 0).sum())
    return (
        f"{measured}; on x86 without VNNI {count} of its layers saturate, "
        f"`{worst['layer']}` the most ({worst['saturating']:.2%} of its sums); "
        "for such a machine set quantization.instruction_set: AVX2"
    )
