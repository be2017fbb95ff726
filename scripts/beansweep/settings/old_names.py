"""Names that keys of the configuration had before: each is refused with its new name."""

from beansweep.common.errors import UserError

# Variants of config.yaml: old name -> name now.
_VARIANTS = {"int8_reference": "int8_ort_default", "int8_weights": "int8_weight_only"}


def refuse(config: dict) -> None:
    """Refuse the keys and values of a configuration that have another name now.

    Parameters
    ----------
    config : the configuration as it was read, not yet validated: any value may be wrong

    Raises
    ------
    UserError
        There is an old name.
    """
    quantization = config.get("quantization")
    if isinstance(quantization, dict) and "max_loss" in quantization:
        raise UserError(
            "quantization.max_loss is now called quantization.max_accuracy_drop: rename it"
        )
    variants = config.get("variants")
    for name, recipe in variants.items() if isinstance(variants, dict) else ():
        _refuse_variant(name, recipe)


def _refuse_variant(name: str, recipe: object) -> None:
    """Refuse the old name of a variant, and old names in its recipe."""
    is_whole_recipe = isinstance(recipe, dict) and "quantizer" in recipe
    if name in _VARIANTS and not is_whole_recipe:
        # It was there to change or to switch off the variant of config.yaml.
        raise UserError(f"variants.{name} is now called {_VARIANTS[name]}: rename it")
    if not isinstance(recipe, dict):
        return
    if "rewrites" in recipe:
        raise UserError(
            f"variants.{name}.rewrites is now called variants.{name}.integer_rewrites: rename it"
        )
    if recipe.get("quantizer") == "weights":
        raise UserError(f"variants.{name}.quantizer: weights is now called weight_only: rename it")
