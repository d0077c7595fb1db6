"""SSD at 512 pixels (arXiv 1512.02325) on VGG-16 and on HarDNet (arXiv 1909.00948)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .harmonic import conv, stages


class SSD(nn.Module):
    """Two maps of the base, five further ones, a convolution for places and one for classes on each."""

    def __init__(self, near: nn.Module, far: nn.Module, widths: tuple[int, int], classes: int = 81) -> None:
        super().__init__()
        self.near, self.far = near, far
        boxes = (4, 6, 6, 6, 6, 4, 4)
        plan = ((256, 512, 2), (128, 256, 2), (128, 256, 2), (128, 256, 2), (128, 256, 0))
        inside, self.extra = widths[1], nn.ModuleList()
        outputs = [*widths]
        for thin, wide, stride in plan:
            second = nn.Conv2d(thin, wide, 3, stride, 1) if stride else nn.Conv2d(thin, wide, 4, 1, 1)
            self.extra.append(
                nn.Sequential(nn.Conv2d(inside, thin, 1), nn.ReLU(inplace=True), second, nn.ReLU(inplace=True))
            )
            inside = wide
            outputs.append(wide)
        self.place = nn.ModuleList(nn.Conv2d(w, b * 4, 3, padding=1) for w, b in zip(outputs, boxes, strict=True))
        self.kind = nn.ModuleList(nn.Conv2d(w, b * classes, 3, padding=1) for w, b in zip(outputs, boxes, strict=True))
        self.classes = classes

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.near(x)
        maps = [F.normalize(x, dim=1)]
        x = self.far(x)
        maps.append(x)
        for extra in self.extra:
            x = extra(x)
            maps.append(x)
        places = [p(m).permute(0, 2, 3, 1).flatten(1) for p, m in zip(self.place, maps, strict=True)]
        kinds = [k(m).permute(0, 2, 3, 1).flatten(1) for k, m in zip(self.kind, maps, strict=True)]
        return torch.cat(places, 1), torch.cat(kinds, 1)


def _vgg(plan: tuple[int | str, ...], inside: int) -> list[nn.Module]:
    made: list[nn.Module] = []
    for step in plan:
        if isinstance(step, str):
            made.append(nn.MaxPool2d(2, 2, ceil_mode=True))
            continue
        made += [nn.Conv2d(inside, step, 3, padding=1), nn.ReLU(inplace=True)]
        inside = step
    return made


def ssd_vgg() -> nn.Module:
    near = _vgg((64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512), 3)
    far = [nn.MaxPool2d(2, 2), *_vgg((512, 512, 512), 512), nn.MaxPool2d(3, 1, 1)]
    far += [
        nn.Conv2d(512, 1024, 3, padding=6, dilation=6),
        nn.ReLU(inplace=True),
        nn.Conv2d(1024, 1024, 1),
        nn.ReLU(inplace=True),
    ]
    return SSD(nn.Sequential(*near), nn.Sequential(*far), (512, 1024))


def ssd_hardnet(name: str) -> nn.Module:
    """The classifier's last block is left out; what is a stride less keeps the second map at 1/16."""
    body, _ = stages(name)
    cut = {"68": 10, "85": 13}[name]
    width = {"68": (320, 640), "85": (480, 720)}[name]
    last = len(body) - 3
    bridge = [
        nn.MaxPool2d(3, 1, 1),
        nn.Conv2d(width[1], width[1], 3, padding=4, dilation=4, bias=False),
        nn.BatchNorm2d(width[1]),
        nn.ReLU(inplace=True),
        conv(width[1], width[1], 1),
    ]
    return SSD(nn.Sequential(*body[:cut]), nn.Sequential(*body[cut:last], *bridge), width)
