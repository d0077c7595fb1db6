"""DenseNet (arXiv 1608.06993) and its fully convolutional form, FC-DenseNet-103 (arXiv 1611.09326)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Layer(nn.Module):
    """Norm, rectifier, convolution; a bottleneck before it where ``width`` is set."""

    def __init__(self, inside: int, growth: int, width: int = 0) -> None:
        super().__init__()
        steps: list[nn.Module] = [nn.BatchNorm2d(inside), nn.ReLU(inplace=True)]
        if width:
            steps += [nn.Conv2d(inside, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        steps.append(nn.Conv2d(width or inside, growth, 3, padding=1, bias=False))
        self.steps = nn.Sequential(*steps)

    def forward(self, x: Tensor) -> Tensor:
        return self.steps(x)


class Block(nn.Module):
    """Each layer reads everything before it."""

    def __init__(self, inside: int, layers: int, growth: int, width: int = 0, keep: bool = True) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(inside + i * growth, growth, width) for i in range(layers))
        self.keep = keep
        self.width = layers * growth + (inside if keep else 0)

    def forward(self, x: Tensor) -> Tensor:
        found = [x]
        for layer in self.layers:
            found.append(layer(torch.cat(found, 1)))
        return torch.cat(found if self.keep else found[1:], 1)


def densenet(layers: tuple[int, ...], growth: int) -> nn.Module:
    """With bottlenecks of 4 · growth and transitions that halve."""
    width = 2 * growth
    body: list[nn.Module] = [
        nn.Conv2d(3, width, 7, 2, 3, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
    ]
    for i, count in enumerate(layers):
        block = Block(width, count, growth, 4 * growth)
        body.append(block)
        width = block.width
        body += [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        if i < len(layers) - 1:
            body += [nn.Conv2d(width, width // 2, 1, bias=False), nn.AvgPool2d(2, 2)]
            width //= 2
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 1000))


class FCDenseNet(nn.Module):
    """103 layers: growth 16, blocks of 4, 5, 7, 10, 12, a bottom of 15."""

    def __init__(
        self, classes: int = 11, growth: int = 16, layers: tuple[int, ...] = (4, 5, 7, 10, 12), bottom: int = 15
    ) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 48, 3, padding=1)
        width, skips = 48, []
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        for count in layers:
            block = Block(width, count, growth)
            width = block.width
            skips.append(width)
            self.down.append(block)
            self.shrink.append(
                nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.Conv2d(width, width, 1), nn.MaxPool2d(2))
            )
        self.bottom = Block(width, bottom, growth, keep=False)
        width = self.bottom.width
        self.grow, self.up = nn.ModuleList(), nn.ModuleList()
        for count, skip in zip(reversed(layers), reversed(skips), strict=True):
            self.grow.append(nn.ConvTranspose2d(width, width, 3, 2, 1, 1))
            last = len(self.up) == len(layers) - 1
            block = Block(width + skip, count, growth, keep=last)
            self.up.append(block)
            width = block.width
        self.last = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        x, skips = self.first(x), []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            x = block(x)
            skips.append(x)
            x = shrink(x)
        x = self.bottom(x)
        for grow, block in zip(self.grow, self.up, strict=True):
            skip = skips.pop()
            x = grow(x)[:, :, : skip.shape[2], : skip.shape[3]]
            if x.shape[2:] != skip.shape[2:]:
                x = nn.functional.pad(x, (0, skip.shape[3] - x.shape[3], 0, skip.shape[2] - x.shape[2]))
            x = block(torch.cat([x, skip], 1))
        return self.last(x)


def fc_densenet() -> nn.Module:
    return FCDenseNet()
