"""Depthwise convolutions with a faster gradient of their weights on a CPU.

PyTorch computes that gradient of a 5x5 kernel up to seven times slower than the convolution itself,
and on maps of 3x3 pixels sixty times slower. The gradient of one image is a convolution again: that
of the image with the gradient of its output as the kernel. PyTorch is fast at those.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

# From this kernel size (pixels) on it is faster, whatever the map. A rule of shapes and no measured
# choice: the same machine has to train the same weights each time.
_FASTER_FROM = 5


def speed_up(model: nn.Module) -> None:
    """Give a model's large depthwise convolutions the faster gradient, in place.

    The weights, their names and what the model computes stay as they are.
    """
    for module in model.modules():
        if _is_faster(module):
            module.__class__ = _DepthwiseConvolution


def _is_faster(module: nn.Module) -> bool:
    """Whether a module is a plain convolution of each channel by itself, with a large kernel."""
    # A subclass may compute something else, as timm's Conv2dSame does.
    return (
        type(module) is nn.Conv2d
        and module.groups == module.in_channels == module.out_channels > 1
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and min(module.kernel_size) >= _FASTER_FROM
    )


class _DepthwiseConvolution(nn.Conv2d):
    """A depthwise convolution that trains faster on a CPU."""

    def forward(self, input: Tensor) -> Tensor:
        settings = (self.stride, self.padding, self.dilation)
        if input.device.type == "cpu":
            return convolve(input, self.weight, self.bias, *settings)
        return functional.conv2d(input, self.weight, self.bias, *settings, self.groups)


def convolve(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
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
        return functional.conv2d(images, weight, bias, *ctx.settings, len(weight))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        images, weight = ctx.saved_tensors
        wanted_images, wanted_weight, wanted_bias = ctx.needs_input_grad[:3]
        of_images, of_weight, of_bias = None, None, None
        if wanted_images:
            of_images = _gradient_of_images(gradient, images, weight, *ctx.settings)
        if wanted_weight:
            of_weight = _gradient_of_weight(gradient, images, weight, *ctx.settings)
        if wanted_bias:
            of_bias = gradient.sum((0, 2, 3))
        return of_images, of_weight, of_bias, None, None, None


def _gradient_of_images(
    gradient: Tensor,
    images: Tensor,
    weight: Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> Tensor:
    """The gradient of the input, as PyTorch computes it: of the shape of `images`."""
    return torch.ops.aten.convolution_backward(
        gradient,
        images,
        weight,
        None,
        stride,
        padding,
        dilation,
        False,
        [0, 0],
        len(weight),
        [True, False, False],
    )[0]


def _gradient_of_weight(
    gradient: Tensor,
    images: Tensor,
    weight: Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> Tensor:
    """The gradient of the weights, summed over images: of the shape of `weight`.

    A weight at (i, j) meets the pixel at (y * stride + i * dilation, x * stride + j * dilation) for
    the output at (y, x). So here the stride and the dilation change places.
    """
    channels, _, height, width = weight.shape
    # A kernel has its pixels in a row. All images at once would leave the processor's cache.
    kernels = gradient.contiguous().unsqueeze(2)
    found = torch.zeros_like(weight)
    for image, kernel in zip(images, kernels, strict=True):
        of_one = functional.conv2d(image[None], kernel, None, dilation, padding, stride, channels)
        # Where the stride skips the last pixels, there is more than the kernel's own size.
        found += of_one[0, :, None, :height, :width]
    return found
