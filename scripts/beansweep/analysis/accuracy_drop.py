"""Why an INT8 model loses what it loses: quantization, or the kernels that compute it."""

import pandas as pd

from beansweep.analysis.portability import may_saturate
from beansweep.common import processors
from beansweep.evaluation import metrics, predictions

# Images may change sides by rounding alone; from here on an error is worth a sentence.
_SAME = 0.998
_LOSSLESS = 0.995
_CLIPPED = 0.01
_STRETCHED = 0.1


def split(fp32: pd.DataFrame, floats: pd.DataFrame, integers: pd.DataFrame) -> dict:
    """Split the loss on the test images in two.

    Parameters
    ----------
    fp32, floats, integers : predictions of FP32, of the INT8 model in float kernels, and of the
        INT8 model as it is deployed, image by image

    Returns
    -------
    `quantization_drop` (macro-F1 of FP32 less that of float kernels) and `kernel_drop` (of float
    kernels less that of integer kernels), which add up to the whole loss;
    `quantization_agreement` and `kernel_agreement`, the shares of images with the same prediction.
    """
    # By path: a file of test images alone numbers its rows otherwise than one with the validation images before them.
    fp32, floats, integers = (
        each[each["split"] == "test"].set_index("path") for each in (fp32, floats, integers)
    )
    floats, integers = floats.loc[fp32.index], integers.loc[fp32.index]
    scores = []
    for rows in (fp32, floats, integers):
        true, predicted, labels = predictions.test_classes(rows)
        scores.append(metrics.macro_f1(true, predicted, len(labels)))
    return {
        "quantization_drop": scores[0] - scores[1],
        "quantization_agreement": float((floats["predicted"] == fp32["predicted"]).mean()),
        "kernel_drop": scores[1] - scores[2],
        "kernel_agreement": float((integers["predicted"] == floats["predicted"]).mean()),
    }


def finding(row: pd.Series, recipe: dict, machine: str, layers: pd.DataFrame | None) -> str:
    """The cause in one sentence.

    Parameters
    ----------
    row : with the figures of `split_loss`
    recipe : the variant's, with no `auto`
    machine : instruction set that the figures are from
    layers : the variant's table of `beansweep.sensitivity`, where it has one
    """
    causes = []
    if row["kernel_agreement"] < _SAME:
        if may_saturate(recipe) and processors.saturates(machine):
            causes.append("integer kernels saturate on this machine: set reduce_range")
        elif row["kernel_agreement"] < row["quantization_agreement"]:
            causes.append("integer kernels round otherwise than float ones")
    if row["quantization_agreement"] < _LOSSLESS:
        causes.append("rounding to 8 bits" if layers is None else _worst_layer(layers.iloc[0]))
    if recipe["quantizer"] == "mixed":
        kept = len(recipe["float_layers"])
        causes.append(
            f"equals {recipe['base']}, which is inside max_accuracy_drop"
            if recipe["equals_base"]
            else f"{kept} layer{'s' * (kept > 1)} in float"
        )
    if recipe["quantizer"] == "qat":
        causes.append(_training(recipe))
    return "; ".join(causes) or "lossless"


def _training(recipe: dict) -> str:
    """What quantization-aware training did to the base that it started from."""
    if recipe["equals_base"]:
        return f"equals {recipe['base']}: training came no nearer to FP32 on validation"
    before, after = (recipe["trials"][epoch] for epoch in (0, recipe["chosen_epoch"]))
    moved = (
        f"{after['weights_moved']} of {after['weights']} weights and {after['biases_moved']} of {after['biases']} "
        f"biases{' (bias tuning)' if not after['weights_moved'] else ''}"
    )
    came = (
        f"training moved {moved}, and took the divergence from FP32 on validation from {before['kl']:.2g} to "
        f"{after['kl']:.2g}"
    )
    if after["macro_f1"] < before["macro_f1"]:
        came += (
            f", yet macro-F1 there from {before['macro_f1']:.4f} to {after['macro_f1']:.4f}: it moves with the "
            "few images that change sides, the divergence with all"
        )
    return came


def _worst_layer(layer: pd.Series) -> str:
    """What is wrong with the layer that quantization hurts most."""
    if layer["clipped"] > _CLIPPED:
        return f"activations that `{layer['layer']}` reads clip ({layer['clipped']:.1%} of them)"
    if layer["used"] < _STRETCHED:
        return (
            f"rare values stretch the range of what `{layer['layer']}` reads: 99.8% of it lies in "
            f"{layer['used']:.0%} of the range"
        )
    return f"`{layer['layer']}` bears 8 bits worst"
