"""Depthwise convolutions with a faster gradient of their weights on a CPU.

PyTorch computes that gradient of a 5x5 kernel up to seven times slower than the convolution itself,
and on maps of 3x3 pixels fifty times slower. The gradient of one image is a convolution again: that
of the image with the gradient of its output as the kernel. PyTorch is fast at those.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

# From this kernel size (pixels) and so many channels on, the own gradient is faster on every map.
# A rule of shapes and no measured choice: a machine has to train the same weights each time.
_KERNEL_FROM = 5
_CHANNELS_FROM = 200
# Values of images that are convolved together: few calls, and all of it in the processor's cache.
_VALUES_AT_ONCE = 2**17


def speed_up(model: nn.Module) -> None:
    """Give a model's large depthwise convolutions the faster gradient, in place.

    The weights, their names and what the model computes stay as they are.
    """
    for module in model.modules():
        if _is_faster(module):
            module.__class__ = _DepthwiseConvolution


def _is_faster(module: nn.Module) -> bool:
    """Whether a module is a plain convolution of each of many channels, with a large kernel."""
    # A subclass may compute something else, as timm's Conv2dSame does.
    return (
        type(module) is nn.Conv2d
        and module.groups == module.in_channels == module.out_channels >= _CHANNELS_FROM
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and min(module.kernel_size) >= _KERNEL_FROM
    )


class _DepthwiseConvolution(nn.Conv2d):
    """A depthwise convolution that trains faster on a CPU."""

    def forward(self, input: Tensor) -> Tensor:
        if input.device.type != "cpu":
            return super().forward(input)
        # A text is left out by `_is_faster`.
        padding = cast(tuple[int, ...], self.padding)
        return convolve(input, self.weight, self.bias, self.stride, padding, self.dilation)


def convolve(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Tensor:
    """Convolve each channel with its own kernel, as `functional.conv2d` with as many groups does.

    Parameters
    ----------
    images : [n, channels, height, width]
    weight : [channels, 1, kernel height, kernel width]
    bias : [channels]

    Returns
    -------
    [n, channels, output height, output width]
    """
    return _Convolution.apply(images, weight, bias, stride, padding, dilation)


class _Convolution(torch.autograd.Function):
    """PyTorch's depthwise convolution, with a gradient of the weights of its own."""

    @staticmethod
    def forward(ctx, images, weight, bias, stride, padding, dilation):
        ctx.save_for_backward(images, weight)
        ctx.settings = (stride, padding, dilation)
        return functional.conv2d(images, weight, bias, stride, padding, dilation, len(weight))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        images, weight = ctx.saved_tensors
        wanted_images, wanted_weight, wanted_bias = ctx.needs_input_grad[:3]
        of_images, of_weight, of_bias = None, None, None
        if wanted_images:
            # As PyTorch computes it.
            of_images, *_ = torch.ops.aten.convolution_backward(
                gradient,
                images,
                weight,
                None,
                *ctx.settings,
                False,
                [0, 0],
                len(weight),
                [True, False, False],
            )
        if wanted_weight:
            of_weight = _gradient_of_weight(gradient, images, weight, *ctx.settings)
        if wanted_bias:
            of_bias = gradient.sum((0, 2, 3))
        return of_images, of_weight, of_bias, None, None, None


def _gradient_of_weight(
    gradient: Tensor,
    images: Tensor,
    weight: Tensor,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Tensor:
    """The gradient of the weights, summed over images: of the shape of `weight`.

    A weight at (i, j) meets the pixel at (y * stride + i * dilation, x * stride + j * dilation) for
    the output at (y, x). So here the stride and the dilation change places.
    """
    channels, *size = images.shape[1:]
    height, width = weight.shape[2:]
    at_once = max(1, _VALUES_AT_ONCE // images[0].numel())
    # A kernel has its pixels in a row.
    gradient = gradient.contiguous()
    found = torch.zeros_like(weight)
    for some, kernels in zip(images.split(at_once), gradient.split(at_once), strict=True):
        count = len(some)
        # The channels of some images next to each other, as those of one image.
        image = some.permute(2, 3, 0, 1).reshape(1, *size, count * channels).permute(0, 3, 1, 2)
        kernels = kernels.reshape(count * channels, 1, *gradient.shape[2:])
        of_each = functional.conv2d(
            image, kernels, None, dilation, padding, stride, count * channels
        )
        # Where the stride skips the last pixels, there is more than the kernel's own size.
        of_each = of_each[0, :, :height, :width].reshape(count, *weight.shape)
        found += of_each.sum(0)
    return found
