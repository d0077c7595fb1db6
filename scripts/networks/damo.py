"""DAMO-YOLO (arXiv 2211.15444) as it is deployed: branches merged, norms left to the engine.

A searched backbone, a neck that fuses three maps twice with blocks in parallel to a shortcut, and one convolution a map for
classes and one for places.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# first width; (blocks, inner width, width, stride) of each stage; whether inner convolutions are 3 × 3; widths that the neck is
# given and that it returns, its blocks and their inner share
SHAPES = {
    "t": (
        24,
        ((2, 24, 64, 2), (2, 64, 96, 2), (2, 96, 192, 2), (2, 152, 192, 1), (1, 192, 384, 2)),
        False,
        (96, 192, 384),
        (64, 128, 256),
        3,
        1.0,
    ),
    "s": (
        32,
        ((1, 24, 128, 2), (5, 88, 128, 2), (3, 128, 256, 2), (2, 120, 256, 1), (1, 144, 512, 2)),
        False,
        (128, 256, 512),
        (128, 256, 512),
        3,
        0.75,
    ),
    "m": (
        32,
        ((2, 64, 128, 2), (4, 64, 128, 2), (4, 256, 256, 2), (4, 256, 256, 1), (3, 256, 512, 2)),
        True,
        (128, 256, 512),
        (128, 256, 512),
        4,
        1.0,
    ),
}


def conv(
    inside: int, outside: int, kernel: int = 1, stride: int = 1, act: type[nn.Module] | None = nn.ReLU
) -> nn.Sequential:
    steps: list[nn.Module] = [
        nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outside),
    ]
    return nn.Sequential(*steps, *([act()] if act else []))


class Pooled(nn.Module):
    """Three sizes of pooling beside what they pool."""

    def __init__(self, width: int, act: type[nn.Module]) -> None:
        super().__init__()
        self.first, self.last = conv(width, width // 2, act=act), conv(width * 2, width, act=act)
        self.pools = nn.ModuleList(nn.MaxPool2d(k, 1, k // 2) for k in (5, 9, 13))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(torch.cat([x, *(pool(x) for pool in self.pools)], 1))


class Bottleneck(nn.Module):
    def __init__(self, inside: int, outside: int, inner: int, stride: int, square: bool, act: type[nn.Module]) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(inside, inner, 3 if square else 1, act=act), conv(inner, outside, 3, stride, None)
        )
        self.skip = conv(inside, outside, act=None) if inside != outside and stride == 1 else nn.Identity()
        self.adds, self.act = stride == 1, act()

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return self.act(y + self.skip(x) if self.adds else y)


class Split(nn.Module):
    """A stage of the medium model: halved in size, half of the channels through blocks, half past them."""

    def __init__(
        self, inside: int, outside: int, inner: tuple[tuple[int, int], ...], act: type[nn.Module], pooled: bool
    ) -> None:
        super().__init__()
        half = outside // 2
        self.down = nn.Sequential(conv(inside, outside, 3, 2, act), *([Pooled(outside, act)] if pooled else []))
        self.start, self.past = conv(outside, half, act=act), conv(outside, half, act=act)
        self.blocks = nn.Sequential(
            *(Bottleneck(half, half, width, 1, True, act) for count, width in inner for _ in range(count))
        )
        self.fuse = conv(outside, outside, act=act)

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(x)
        return self.fuse(torch.cat([self.blocks(self.start(x)), self.past(x)], 1))


class Fuse(nn.Module):
    """A node of the neck: every block's result is kept beside the shortcut."""

    def __init__(self, inside: int, outside: int, blocks: int, share: float, act: type[nn.Module]) -> None:
        super().__init__()
        half = outside // 2
        self.past, self.start = conv(inside, half, act=act), conv(inside, outside - half, act=act)
        wide = int((outside - half) * share)
        self.blocks = nn.ModuleList(
            nn.Sequential(conv(outside - half, wide, 3, act=act), conv(wide, outside - half, 3, act=act))
            for _ in range(blocks)
        )
        self.last = conv((outside - half) * blocks + half, outside, act=act)

    def forward(self, x: Tensor) -> Tensor:
        found, y = [self.past(x)], self.start(x)
        for block in self.blocks:
            y = block(y) + y
            found.append(y)
        return self.last(torch.cat(found, 1))


class Damo(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        first, stages, square, (a, b, c), (x, y, z), blocks, share = SHAPES[name]
        act = nn.SiLU if square else nn.ReLU
        self.first = conv(12, first, 3, act=act)
        made: list[nn.Module] = []
        width = first
        if square:
            one, two, three, four, five = stages
            made = [
                Split(first, 128, ((one[0] - 1, one[1]),), act, False), Split(128, 128, ((two[0] - 1, two[1]),), act, False),
                Split(128, 256, ((three[0] - 1, three[1]), (four[0], four[1])), act, False), Split(256, 512, ((five[0] - 1, five[1]),), act, True),
            ]  # fmt: skip
            self.kept = (1, 2, 3)
        else:
            for index, (count, inner, out, stride) in enumerate(stages):
                body: list[nn.Module] = [Bottleneck(width, out, inner, stride, False, act)]
                if index == 4:
                    body.append(Pooled(out, act))
                body += [Bottleneck(out, out, inner, 1, False, act) for _ in range(count - 1)]
                made.append(nn.Sequential(*body))
                width = out
            self.kept = (1, 3, 4)
        self.stages = nn.ModuleList(made)
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.down = nn.ModuleList(conv(w, w, 3, 2, act) for w in (b, a, x, b, y))
        nodes = ((b + c, c), (a + b + c, b), (a + b, x), (x + b, y), (b + y + c, z))
        self.fuse = nn.ModuleList(Fuse(i, o, blocks, share, act) for i, o in nodes)
        self.kinds = nn.ModuleList(nn.Conv2d(w, 80, 3, padding=1) for w in (x, y, z))
        self.places = nn.ModuleList(nn.Conv2d(w, 68, 3, padding=1) for w in (x, y, z))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.first(torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1))
        maps = []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in self.kept:
                maps.append(x)
        fine, middle, coarse = maps
        d, f = self.down, self.fuse
        x3 = f[0](torch.cat([coarse, d[0](middle)], 1))
        x4 = f[1](torch.cat([middle, d[1](fine), self.up(x3)], 1))
        x5 = f[2](torch.cat([fine, self.up(x4)], 1))
        x7 = f[3](torch.cat([x4, d[2](x5)], 1))
        x6 = f[4](torch.cat([x3, d[3](x4), d[4](x7)], 1))
        outs = (x5, x7, x6)
        kinds = [torch.sigmoid(k(m)).flatten(2) for k, m in zip(self.kinds, outs, strict=True)]
        return torch.cat(kinds, 2), torch.cat([p(m).flatten(2) for p, m in zip(self.places, outs, strict=True)], 2)


def damo_yolo(name: str) -> nn.Module:
    return Damo(name)
