"""The kinds of quantizers that make a variant from FP32 alone, by their names in a recipe.

Those that start from another variant, mixed, qat and activation_swap, have stages of their own.
"""

from beansweep.quantization import dynamic, static, weight_only

QUANTIZERS = {
    "static": static.quantize,
    "dynamic": dynamic.quantize,
    "weight_only": weight_only.quantize,
}
