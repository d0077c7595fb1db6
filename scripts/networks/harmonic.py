"""HarDNet (arXiv 1909.00948): layer l reads layers l − 2^n where 2^n divides l; its width grows by a factor for each of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# first convolutions, outputs of transitions, factor, growth rates, layers of blocks, pooling behind a block
SHAPES = {
    "39": ((24, 48), (96, 320, 640, 1024), 1.6, (16, 20, 64, 160), (4, 16, 8, 4), (1, 1, 1, 0)),
    "68": ((32, 64), (128, 256, 320, 640, 1024), 1.7, (14, 16, 20, 40, 160), (8, 16, 16, 16, 4), (1, 0, 1, 1, 0)),
    "85": (
        (48, 96),
        (192, 256, 320, 480, 720, 1280),
        1.7,
        (24, 24, 28, 36, 48, 256),
        (8, 16, 16, 16, 16, 4),
        (1, 0, 1, 0, 1, 0),
    ),
}


def conv(inside: int, outside: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outside), nn.ReLU(inplace=True))


def apart(channels: int, stride: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(channels))


class Harmonic(nn.Module):
    """A block; its outputs are its odd layers and the last."""

    def __init__(self, base: int, growth: int, factor: float, layers: int, depthwise: bool) -> None:
        super().__init__()
        widths, self.links = [base], []
        for layer in range(1, layers + 1):
            powers = [n for n in range(10) if layer % 2**n == 0]
            self.links.append([layer - 2**n for n in powers])
            widths.append(int(int(growth * factor ** (len(powers) - 1) + 1) / 2) * 2)
        made = []
        for width, link in zip(widths[1:], self.links, strict=True):
            inside = sum(widths[k] for k in link)
            made.append(nn.Sequential(conv(inside, width, 1), apart(width)) if depthwise else conv(inside, width))
        self.layers = nn.ModuleList(made)
        self.kept = [i for i in range(1, layers + 1) if i % 2 or i == layers]
        self.width = sum(widths[i] for i in self.kept)

    def forward(self, x: Tensor) -> Tensor:
        found = [x]
        for layer, link in zip(self.layers, self.links, strict=True):
            read = [found[k] for k in link]
            found.append(layer(torch.cat(read, 1) if len(read) > 1 else read[0]))
        return torch.cat([found[i] for i in self.kept], 1)


def stages(name: str, depthwise: bool = False) -> tuple[list[nn.Module], int]:
    """Everything before the classifier, and its width."""
    first, outputs, factor, growths, layers, pooled = SHAPES[name]
    body: list[nn.Module] = [conv(3, first[0], stride=2), conv(first[0], first[1], 1 if depthwise else 3)]
    body.append(apart(first[1], 2) if depthwise else nn.MaxPool2d(3, 2, 1))
    width = first[1]
    for out, growth, count, pool in zip(outputs, growths, layers, pooled, strict=True):
        block = Harmonic(width, growth, factor, count, depthwise)
        body += [block, conv(block.width, out, 1)]
        width = out
        if pool:
            body.append(apart(width, 2) if depthwise else nn.MaxPool2d(2, 2))
    return body, width


def hardnet(name: str, depthwise: bool = False) -> nn.Module:
    body, width = stages(name, depthwise)
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 1000))


class FCHarDNet(nn.Module):
    """FC-HarDNet-70: blocks down to 1/32, and up again with what was skipped."""

    def __init__(self, classes: int = 11) -> None:
        super().__init__()
        first, outputs, growths, layers = (
            (16, 24, 32, 48),
            (64, 96, 160, 224, 320),
            (10, 16, 18, 24, 32),
            (4, 4, 8, 8, 8),
        )
        self.stem = nn.Sequential(
            conv(3, first[0], stride=2),
            conv(first[0], first[1]),
            conv(first[1], first[2], stride=2),
            conv(first[2], first[3]),
        )
        width, skips = first[3], []
        self.blocks, self.thin = nn.ModuleList(), nn.ModuleList()
        for out, growth, count in zip(outputs, growths, layers, strict=True):
            block = Harmonic(width, growth, 1.7, count, False)
            self.blocks.append(block)
            self.thin.append(conv(block.width, out, 1))
            skips.append(block.width)
            width = out
        self.narrow, self.up = nn.ModuleList(), nn.ModuleList()
        for i in range(3, -1, -1):
            joined = width + skips[i]
            self.narrow.append(conv(joined, joined // 2, 1))
            block = Harmonic(joined // 2, growths[i], 1.7, layers[i], False)
            self.up.append(block)
            width = block.width
        self.last = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        size, x, skips = x.shape[2:], self.stem(x), []
        for i, (block, thin) in enumerate(zip(self.blocks, self.thin, strict=True)):
            x = block(x)
            if i < 4:
                skips.append(x)
            x = thin(x)
            if i < 4:
                x = F.avg_pool2d(x, 2, 2)
        for narrow, block in zip(self.narrow, self.up, strict=True):
            skip = skips.pop()
            x = F.interpolate(x, skip.shape[2:], mode="bilinear", align_corners=True)
            x = block(narrow(torch.cat([x, skip], 1)))
        return F.interpolate(self.last(x), size, mode="bilinear", align_corners=True)


class FCHarDNetWhole(nn.Module):
    """FC-HarDNet-84: the layout of FC-DenseNet-103 at full resolution, its dense blocks harmonic.

    84 = 2 · (4 + 4 + 8 + 8 + 8) + 8 layers of blocks, ten transitions and two ends; growth rates are those of FC-HarDNet-70.
    """

    def __init__(self, classes: int = 11) -> None:
        super().__init__()
        growths, layers = (10, 16, 18, 24, 32), (4, 4, 8, 8, 8)
        self.first = conv(3, 48)
        width, skips = 48, []
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        for growth, count in zip(growths, layers, strict=True):
            block = Harmonic(width, growth, 1.7, count, False)
            width = block.width
            skips.append(width)
            self.down.append(block)
            self.shrink.append(nn.Sequential(conv(width, width, 1), nn.MaxPool2d(2)))
        self.bottom = Harmonic(width, 42, 1.7, 8, False)
        width = self.bottom.width
        self.grow, self.up = nn.ModuleList(), nn.ModuleList()
        for growth, count, skip in zip(reversed(growths), reversed(layers), reversed(skips), strict=True):
            self.grow.append(conv(width, width // 2, 1))
            block = Harmonic(width // 2 + skip, growth, 1.7, count, False)
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
            x = F.interpolate(grow(x), skip.shape[2:], mode="bilinear", align_corners=True)
            x = block(torch.cat([x, skip], 1))
        return self.last(x)


def fc_hardnet(layers: int) -> nn.Module:
    return FCHarDNet() if layers == 70 else FCHarDNetWhole()
