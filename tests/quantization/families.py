"""A small network of each family of backbones, with random weights: three classes, 32 pixels."""

import torch
from torch import nn
from torch.nn import functional

SIZE = 32
CLASSES = 3


def layer(inputs, outputs, size=1, activation=nn.ReLU, **options):
    """A convolution with its normalisation and activation, as most families have them."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False, **options),
        nn.BatchNorm2d(outputs),
        activation(),
    )


def classifier(*body, channels):
    """A body, global pooling and a dense layer."""
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES))


class Residual(nn.Module):
    """A body added to its input."""

    def __init__(self, *body):
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x):
        return x + self.body(x)


class SqueezeExcite(nn.Module):
    """A gate for each channel, from the means of all (MobileNetV3, EfficientNet)."""

    def __init__(self, channels, gate):
        super().__init__()
        self.reduce = nn.Conv2d(channels, 4, 1)
        self.expand = nn.Conv2d(4, channels, 1)
        self.gate = gate

    def forward(self, x):
        means = x.mean((2, 3), keepdim=True)
        return x * self.gate(self.expand(functional.relu(self.reduce(means))))


class SpatialAttention(nn.Module):
    """One map of a single channel that multiplies all channels."""

    def __init__(self, channels):
        super().__init__()
        self.map = layer(channels, 1, 3)

    def forward(self, x):
        return x * self.map(x)


class Shuffle(nn.Module):
    """Half of the channels convolved, and both halves shuffled (ShuffleNetV2)."""

    def __init__(self, channels):
        super().__init__()
        self.body = layer(channels // 2, channels // 2, 3)

    def forward(self, x):
        kept, used = x.chunk(2, dim=1)
        joined = torch.cat([kept, self.body(used)], dim=1)
        batch, channels, height, width = joined.shape
        halves = joined.view(batch, 2, channels // 2, height, width).transpose(1, 2)
        return halves.reshape(batch, channels, height, width)


class DenseBlock(nn.Module):
    """Layers that read all before them, normalised first (DenseNet)."""

    def __init__(self, channels, growth, count):
        super().__init__()
        self.layers = nn.ModuleList()
        for index in range(count):
            read = channels + index * growth
            self.layers.append(
                nn.Sequential(
                    nn.BatchNorm2d(read), nn.ReLU(), nn.Conv2d(read, growth, 3, padding=1)
                )
            )

    def forward(self, x):
        for block in self.layers:
            x = torch.cat([x, block(x)], dim=1)
        return x


class Attention(nn.Module):
    """Attention of several heads, with its products written out (ViT, LeViT)."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x):
        batch, length, width = x.shape
        qkv = self.qkv(x).reshape(batch, length, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        weights = (query @ key.transpose(-2, -1) * (width // self.heads) ** -0.5).softmax(dim=-1)
        return self.out((weights @ value).transpose(1, 2).reshape(batch, length, width))


class Transformer(nn.Module):
    """A block of a transformer on [n, length, width]."""

    def __init__(self, width):
        super().__init__()
        self.attention = Residual(nn.LayerNorm(width), Attention(width, 2))
        self.mlp = Residual(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x):
        return self.mlp(self.attention(x))


class VisionTransformer(nn.Module):
    """Patches, a class token, positions, and blocks (ViT, DeiT)."""

    def __init__(self, width=16):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, stride=8)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, 17, width))
        self.blocks = nn.Sequential(Transformer(width), Transformer(width), nn.LayerNorm(width))
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.positions
        return self.head(self.blocks(x)[:, 0])


class OnPixels(nn.Module):
    """A block of a transformer on the pixels of a map (MobileViT, EfficientFormer)."""

    def __init__(self, width):
        super().__init__()
        self.block = Transformer(width)

    def forward(self, x):
        batch, width, height, across = x.shape
        rows = self.block(x.flatten(2).transpose(1, 2))
        return rows.transpose(1, 2).reshape(batch, width, height, across)


class PatchBlock(nn.Module):
    """A large depthwise kernel and a perceptron on channels that are last (ConvNeXtV2)."""

    def __init__(self, width):
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 2 * width)
        self.narrow = nn.Linear(2 * width, width)
        self.scale = nn.Parameter(torch.rand(2 * width))

    def forward(self, x):
        found = functional.gelu(self.widen(self.norm(self.depthwise(x).permute(0, 2, 3, 1))))
        response = found.norm(p=2, dim=(1, 2), keepdim=True)
        found = found + found * self.scale * response / (response.mean(dim=-1, keepdim=True) + 1e-6)
        return x + self.narrow(found).permute(0, 3, 1, 2)


class Branches(nn.Module):
    """Branches that are merged into one convolution for deployment (RepVGG, MobileOne)."""

    def __init__(self, channels):
        super().__init__()
        self.wide = nn.Conv2d(channels, channels, 3, padding=1)
        self.point = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        return functional.relu(self.wide(x) + self.point(x) + x)

    def reparameterize(self):
        """Merge the branches."""
        merged = nn.Conv2d(*self.wide.weight.shape[1::-1], 3, padding=1)
        with torch.no_grad():
            identity = torch.eye(len(merged.weight))[:, :, None, None]
            merged.weight.copy_(
                self.wide.weight + functional.pad(self.point.weight + identity, [1, 1, 1, 1])
            )
            merged.bias.copy_(self.wide.bias + self.point.bias)
        return nn.Sequential(merged, nn.ReLU())


def _attention_maps():
    return classifier(layer(3, 16, 3, stride=2), SpatialAttention(16), layer(16, 24), channels=24)


def _grouped():
    # Groups of four channels, and a group of two inputs for each output.
    return classifier(
        layer(3, 16, 3, stride=2),
        Residual(layer(16, 16), layer(16, 16, 3, groups=4), layer(16, 16, activation=nn.Identity)),
        layer(16, 8, 3, groups=8),
        layer(8, 24),
        channels=24,
    )


def _depthwise():
    return classifier(
        layer(3, 12, 3, stride=2),
        layer(12, 12, 3, groups=12, activation=nn.Hardswish),
        layer(12, 24, activation=nn.SiLU),
        layer(24, 48, 3, groups=24),
        channels=48,
    )


def _squeeze_excite():
    return classifier(
        layer(3, 16, 3, stride=2, activation=nn.Hardswish),
        SqueezeExcite(16, functional.hardsigmoid),
        layer(16, 24, activation=nn.SiLU),
        SqueezeExcite(24, torch.sigmoid),
        channels=24,
    )


# Family -> a function that builds its network.
FAMILIES = {
    "convolution": lambda: classifier(
        layer(3, 16, 3, stride=2), nn.MaxPool2d(2), layer(16, 24, 3), channels=24
    ),
    "depthwise": _depthwise,
    "grouped": _grouped,
    "squeeze-excite": _squeeze_excite,
    "attention map": _attention_maps,
    "shuffle": lambda: classifier(layer(3, 16, 3, stride=2), Shuffle(16), Shuffle(16), channels=16),
    "dense": lambda: classifier(
        layer(3, 16, 3, stride=2), DenseBlock(16, 8, 3), nn.AvgPool2d(2), layer(40, 24), channels=24
    ),
    "attention": VisionTransformer,
    "hybrid": lambda: classifier(
        layer(3, 16, 3, stride=4, activation=nn.SiLU), OnPixels(16), layer(16, 24), channels=24
    ),
    "patch convolution": lambda: classifier(
        nn.Conv2d(3, 16, 4, stride=4), PatchBlock(16), PatchBlock(16), channels=16
    ),
    "re-parameterised": lambda: classifier(
        layer(3, 16, 3, stride=2), Branches(16), Branches(16), channels=16
    ),
}


def build(family):
    """A network with statistics of normalisation from some images, and logits of some size."""
    torch.manual_seed(0)
    network = FAMILIES[family]().train()
    images = torch.randn(64, 3, SIZE, SIZE)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        network(images)
        network.eval()
        last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
        last.weight.div_(network(images).std(dim=0).mean())
    return network
