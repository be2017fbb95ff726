"""Why an INT8 variant is slower than FP32."""

# Operators that are named.
_NAMED = 3


def finding(speedup_high: float | None, recipe: dict) -> str:
    """Say that a variant is slower than FP32, and what it spends time on; empty where it is not.

    Parameters
    ----------
    speedup_high : upper end of the interval of its speed-up over FP32; None where there is none
    recipe : of the variant; `quantization.findings.cost` explains what it may have
    """
    if speedup_high is None or speedup_high >= 1:
        return ""
    causes = "; ".join(filter(None, [_grouped(recipe), _conversions(recipe)]))
    return "slower than FP32" + (f": {causes}" if causes else "")


def _grouped(recipe: dict) -> str:
    """The convolutions that integer kernels are slow for."""
    count = recipe.get("grouped_layers", 0)
    return f"{count} grouped convolutions, computed group by group" if count else ""


def _conversions(recipe: dict) -> str:
    """The conversions around operators that have no integer kernel."""
    if not recipe.get("conversions"):
        return ""
    operators = list(recipe["float_operators"].items())[:_NAMED]
    around = " and ".join(f"{count} {name}" for name, count in operators)
    return f"{recipe['conversions']} conversions between bytes and floats" + (
        f", most of them around {around}" if around else ""
    )
