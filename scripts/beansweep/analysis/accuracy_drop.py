"""The accuracy drop of an INT8 model, split between quantization and integer kernels."""

import numpy as np
import pandas as pd

from beansweep.analysis.portability import may_saturate
from beansweep.common import processors
from beansweep.common.words import counted
from beansweep.evaluation import metrics, predictions

# Agreements below these are explained; a few images change sides by rounding alone.
_KERNEL_AGREEMENT = 0.998
_QUANTIZATION_AGREEMENT = 0.995
# Share of a layer's inputs outside their range that counts as clipping.
_CLIPPED = 0.01
# Part of a range that holds most values; below it the range is called stretched.
_STRETCHED = 0.1
# A layer's divergence this near to the largest counts as large as it.
_ALIKE = 0.5


def split(fp32: pd.DataFrame, float_kernels: pd.DataFrame, int8: pd.DataFrame) -> dict:
    """Split the accuracy drop on the test images in two.

    Parameters
    ----------
    fp32 : predictions of FP32, a row an image
    float_kernels : predictions of the INT8 model, computed in float kernels
    int8 : predictions of the INT8 model in integer kernels, as it is deployed

    Returns
    -------
    `quantization_drop` (macro-F1 of FP32 minus that in float kernels) and `kernel_drop` (macro-F1
    in float kernels minus that in integer kernels), which add up to the whole drop;
    `quantization_agreement` and `kernel_agreement`, the shares of images with the same prediction;
    `changed_images`, how many test images INT8 as deployed predicts differently from FP32; and
    `test_images`, their number.
    """
    reference = _test_images(fp32)
    # By path: files of predictions may hold other images too.
    floats = _test_images(float_kernels).loc[reference.index]
    integers = _test_images(int8).loc[reference.index]
    before, between, after = map(_macro_f1, (reference, floats, integers))
    return {
        "quantization_drop": before - between,
        "quantization_agreement": _agreement(reference, floats),
        "kernel_drop": between - after,
        "kernel_agreement": _agreement(floats, integers),
        "changed_images": int((reference["predicted"] != integers["predicted"]).sum()),
        "test_images": len(reference),
    }


def _test_images(table: pd.DataFrame) -> pd.DataFrame:
    """Predictions of the test images, by path."""
    return table[table["split"] == "test"].set_index("path")


def _macro_f1(rows: pd.DataFrame) -> float:
    """Macro-F1 of predictions of test images."""
    true, predicted, labels = predictions.test_classes(rows)
    return metrics.macro_f1(true, predicted, len(labels))


def _agreement(one: pd.DataFrame, other: pd.DataFrame) -> float:
    """Share of images with the same predicted class."""
    return float(np.mean(one["predicted"] == other["predicted"]))


def finding(figures: dict, recipe: dict, machine: str, layers: pd.DataFrame | None) -> str:
    """The cause of an accuracy drop, in one line.

    Parameters
    ----------
    figures : of `split`
    recipe : of the variant, with no `auto` left
    machine : instruction set that the figures were measured on
    layers : the variant's table of layer sensitivities, where there is one
    """
    causes = [
        _kernel_cause(figures, recipe, machine),
        _quantization_cause(figures, layers),
        _mixed(recipe) if recipe["quantizer"] == "mixed" else "",
        _training(recipe) if recipe["quantizer"] == "qat" else "",
        _swap(recipe) if recipe["quantizer"] == "activation_swap" else "",
        _left_out(recipe),
    ]
    return "; ".join(filter(None, causes)) or _unexplained(figures)


def _left_out(recipe: dict) -> str:
    """What the method leaves out for this network; see `quantization.findings`."""
    words = []
    if "undone_rewrites" in recipe:
        words.append(f"rewrites that do not fit: {', '.join(recipe['undone_rewrites'])}")
    if "nearest_rounding" in recipe:
        layers = counted(len(recipe["nearest_rounding"]), "layers")
        words.append(f"{layers} too wide for GPTQ, rounded to nearest")
    return "; ".join(words)


def _unexplained(figures: dict) -> str:
    """The finding where no cause is worth a sentence."""
    if not figures["changed_images"]:
        return "lossless"
    return f"{figures['changed_images']} of {figures['test_images']} images changed"


def _kernel_cause(figures: dict, recipe: dict, machine: str) -> str:
    """What integer kernels do to the predictions; empty where it is little."""
    if figures["kernel_agreement"] >= _KERNEL_AGREEMENT:
        return ""
    if may_saturate(recipe) and processors.saturates(machine):
        return "integer kernels saturate on this machine: set reduce_range"
    if figures["kernel_agreement"] < figures["quantization_agreement"]:
        return "integer kernels round differently from float kernels"
    return ""


def _quantization_cause(figures: dict, layers: pd.DataFrame | None) -> str:
    """What quantization does to the predictions; empty where it is little."""
    if figures["quantization_agreement"] >= _QUANTIZATION_AGREEMENT:
        return ""
    return "rounding to 8 bits changes some predictions" if layers is None else _worst_layer(layers)


def _worst_layer(layers: pd.DataFrame) -> str:
    """What is wrong with the layer that quantization hurts the most.

    A range that clips hurts the layer that writes the tensor as much as the layer that reads it,
    and only the reader's row shows the clipping.

    Parameters
    ----------
    layers : a row a layer, the largest divergence `kl` first
    """
    worst = layers.iloc[0]
    alike = layers[layers["kl"] >= _ALIKE * worst["kl"]]
    clipped = alike[alike["clipped"] > _CLIPPED]
    if len(clipped):
        reader = clipped.iloc[0]
        return f"the range of what `{reader['layer']}` reads clips {reader['clipped']:.1%} of it"
    if worst["used"] < _STRETCHED:
        return (
            f"rare values stretch the range of what `{worst['layer']}` reads: 99.8% of it lies in "
            f"{worst['used']:.0%} of the range"
        )
    return f"`{worst['layer']}` is the layer most sensitive to 8 bits"


def _mixed(recipe: dict) -> str:
    """What a mixed variant keeps in float."""
    if recipe["equals_base"]:
        return f"equals {recipe['base']}, which is within max_accuracy_drop"
    return counted(len(recipe["float_layers"]), "layers in float")


def _swap(recipe: dict) -> str:
    """What became of a network with another activation."""
    before, after, quantized = recipe["trials"]
    counts = recipe["swapped"]
    gates = f" and {counts['Sigmoid']} Sigmoid are hardsigmoid" if counts["Sigmoid"] else ""
    return (
        f"another function: {counts['SiLU']} SiLU are {recipe['activations']}{gates}; on "
        f"validation the divergence from FP32 was {before['kl']:.2g}, {after['kl']:.2g} after "
        f"training and {quantized['kl']:.2g} in INT8, in nats"
    )


def _training(recipe: dict) -> str:
    """What quantization-aware training did to its base."""
    if recipe["equals_base"]:
        return f"equals {recipe['base']}: training came no nearer to FP32 on validation"
    before, after = recipe["trials"][0], recipe["trials"][recipe["chosen_epoch"]]
    bias_tuning = "" if after["weights_moved"] else " (bias tuning)"
    text = (
        f"training moved {after['weights_moved']} of {after['weights']} weights and "
        f"{after['biases_moved']} of {after['biases']} biases{bias_tuning}; on validation the "
        f"divergence from FP32 went from {before['kl']:.2g} to {after['kl']:.2g} nats"
    )
    if after["macro_f1"] < before["macro_f1"]:
        text += (
            f", and macro-F1 there from {before['macro_f1']:.4f} to {after['macro_f1']:.4f}: "
            "macro-F1 follows the few images that change sides, the divergence follows all"
        )
    return text
