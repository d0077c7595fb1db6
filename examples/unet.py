"""U-Net (Ronneberger et al., arXiv 1505.04597) with padded convolutions: ``examples/unet.py:unet --input 1x3x256x256``."""

from __future__ import annotations

import torch
from torch import nn


class Double(nn.Sequential):
    """Two 3 × 3 convolutions, each with batch norm and ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        layers: list[nn.Module] = []
        for i in (inputs, outputs):
            layers += [nn.Conv2d(i, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        super().__init__(*layers)


class UNet(nn.Module):
    """Down through ``widths``, up again with the skipped features beside.

    Args:
        widths: channels at each resolution.
    """

    def __init__(self, widths: tuple[int, ...] = (64, 128, 256, 512, 1024), classes: int = 2) -> None:
        super().__init__()
        self.down = nn.ModuleList(Double(a, b) for a, b in zip((3, *widths), widths, strict=False))
        pairs = list(zip(widths[::-1], widths[-2::-1], strict=False))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in pairs)
        self.merge = nn.ModuleList(Double(a, b) for a, b in pairs)
        self.pool, self.head = nn.MaxPool2d(2), nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skipped = []
        for i, part in enumerate(self.down):
            x = part(self.pool(x) if i else x)
            skipped.append(x)
        skipped.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([skipped.pop(), up(x)], dim=1))
        return self.head(x)


def unet() -> UNet:
    return UNet()


def unet_small() -> UNet:
    return UNet((8, 16, 32))
