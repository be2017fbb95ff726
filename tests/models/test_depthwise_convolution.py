"""The own gradient of depthwise convolutions is PyTorch's, and a network stays as it is."""

import pytest
import torch
from beansweep.models import backbones, depthwise_convolution
from torch import nn
from torch.nn import functional

# Of each convolution: kernel size, stride, padding, dilation; and height and width of the images.
CONVOLUTIONS = [
    ((5, 5), 1, 2, 1, (3, 3)),
    ((5, 5), 1, 2, 1, (6, 7)),
    ((5, 5), 2, 2, 1, (6, 6)),
    ((5, 5), 2, 2, 1, (7, 8)),
    ((5, 5), 1, 0, 1, (9, 6)),
    ((5, 5), 3, 4, 1, (10, 11)),
    ((5, 5), 1, 4, 2, (9, 9)),
    ((5, 5), 2, 3, 2, (12, 10)),
    ((7, 7), 1, 3, 1, (3, 3)),
    ((7, 7), 2, 3, 1, (8, 8)),
    ((3, 3), 1, 1, 1, (6, 6)),
    ((3, 3), 2, 1, 1, (7, 7)),
    ((3, 5), 1, 1, 1, (6, 8)),
]


def settings_of(convolution):
    kernel, stride, padding, dilation, size = convolution
    return kernel, ((stride,) * 2, (padding,) * 2, (dilation,) * 2), size


@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_gradients_are_those_of_finite_differences(convolution):
    kernel, settings, size = settings_of(convolution)
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 3, *size), (3, 1, *kernel), (3,)]
    inputs = [torch.randn(shape, generator=generator, dtype=torch.double) for shape in shapes]
    for values in inputs:
        values.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda *values: depthwise_convolution.convolve(*values, *settings),
        inputs,
        fast_mode=True,
    )


@pytest.mark.parametrize("convolution", CONVOLUTIONS)
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_gradients_are_those_of_pytorch(convolution, memory_format):
    kernel, settings, size = settings_of(convolution)
    torch.manual_seed(0)
    images = torch.randn(4, 24, *size).contiguous(memory_format=memory_format).requires_grad_()
    weight = torch.randn(24, 1, *kernel, requires_grad=True)
    bias = torch.randn(24, requires_grad=True)
    expected = functional.conv2d(images, weight, bias, *settings, 24)
    found = depthwise_convolution.convolve(images, weight, bias, *settings)
    assert torch.equal(found, expected)
    gradient = torch.randn_like(expected)
    expected_gradients = torch.autograd.grad(expected, (images, weight, bias), gradient)
    found_gradients = torch.autograd.grad(found, (images, weight, bias), gradient)
    for one, other in zip(found_gradients, expected_gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_frozen_weights_get_no_gradient():
    images = torch.randn(1, 4, 6, 6, requires_grad=True)
    weight = torch.randn(4, 1, 5, 5)
    outputs = depthwise_convolution.convolve(images, weight, None, (1, 1), (2, 2), (1, 1))
    outputs.sum().backward()
    assert images.grad is not None
    assert weight.grad is None


def test_a_network_computes_the_same_and_keeps_its_names():
    torch.manual_seed(0)
    model = backbones.build("mobilenet_v3_small", 3).eval()
    images = torch.randn(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    names, expected = list(model.state_dict()), model(images)
    classes = [type(module) for module in model.modules()]
    depthwise_convolution.speed_up(model)
    assert [type(module) for module in model.modules()] != classes
    assert list(model.state_dict()) == names
    assert torch.equal(model(images), expected)


@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv2d(256, 256, 3, groups=256),
        nn.Conv2d(256, 256, 5, groups=128),
        nn.Conv2d(256, 512, 5, groups=256),
        nn.Conv2d(256, 256, 5, groups=256, padding="same"),
        nn.Conv2d(256, 256, 5, groups=256, padding=2, padding_mode="reflect"),
        nn.Conv2d(64, 64, 5, groups=64),
    ],
)
def test_other_convolutions_are_left_alone(convolution):
    depthwise_convolution.speed_up(convolution)
    assert type(convolution) is nn.Conv2d
