"""Networks of inverted bottlenecks: MobileNetV2 (arXiv 1801.04381), FBNet-A and B (arXiv 1812.03443, table of searched blocks)."""

from __future__ import annotations

from torch import Tensor, nn


def whole(width: float, of: int = 8) -> int:
    """A width that divides by eight, never a tenth less than asked."""
    found = max(of, int(width + of / 2) // of * of)
    return found + of if found < 0.9 * width else found


class Inverted(nn.Module):
    """Wider, depthwise, narrower; groups divide the products."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int, wider: int, groups: int = 1) -> None:
        super().__init__()
        wide = inside * wider
        steps: list[nn.Module] = []
        if wider > 1:
            steps += [
                nn.Conv2d(inside, wide, 1, groups=groups, bias=False),
                nn.BatchNorm2d(wide),
                nn.ReLU6(inplace=True),
            ]
        steps += [
            nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(inplace=True),
        ]
        steps += [nn.Conv2d(wide, outside, 1, groups=groups, bias=False), nn.BatchNorm2d(outside)]
        self.steps = nn.Sequential(*steps)
        self.skips = inside == outside and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        return x + self.steps(x) if self.skips else self.steps(x)


def _head(inside: int, width: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inside, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU6(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, 1000),
    ]


def _stem(width: int) -> list[nn.Module]:
    return [nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU6(inplace=True)]


def mobilenet_v2(times: float) -> nn.Module:
    plan = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    width = whole(32 * times)
    body = _stem(width)
    for wider, out, count, stride in plan:
        for i in range(count):
            body.append(Inverted(width, whole(out * times), 3, stride if i == 0 else 1, wider))
            width = whole(out * times)
    return nn.Sequential(*body, *_head(width, whole(1280 * max(times, 1.0))))


# (kernel, times wider, groups) of each block, None for a skip; stages of widths 16, 24, 32, 64, 112, 184, 352
_BLOCKS = {
    "a": (
        (None,), ((3, 3, 1), (3, 1, 1), None, None), ((5, 6, 1), (3, 3, 1), (5, 1, 1), (3, 3, 1)),
        ((5, 6, 1), (5, 3, 1), (5, 1, 2), (5, 6, 1)), ((3, 6, 1), (5, 1, 2), (5, 3, 1), (3, 1, 2)),
        ((5, 6, 1), (5, 6, 1), (5, 3, 1), (5, 6, 1)), ((5, 6, 1),),
    ),
    "b": (
        ((3, 1, 1),), ((3, 6, 1), (5, 1, 1), (3, 1, 1), (3, 1, 1)), ((5, 6, 1), (5, 3, 1), (3, 6, 1), (5, 6, 1)),
        ((5, 6, 1), (5, 6, 1), None, (5, 3, 1)), ((5, 6, 1), (3, 1, 1), (5, 1, 1), (5, 3, 1)),
        ((5, 6, 1), (5, 1, 1), (5, 6, 1), (5, 6, 1)), ((3, 6, 1),),
    ),
}  # fmt: skip
_LAST = {"a": 1504, "b": 1984}


def fbnet(name: str, times: float = 1.0) -> nn.Module:
    width = whole(16 * times)
    body = _stem(width)
    for out, stride, blocks in zip((16, 24, 32, 64, 112, 184, 352), (1, 2, 2, 2, 1, 2, 1), _BLOCKS[name], strict=True):
        for i, block in enumerate(blocks):
            if block is None:
                continue
            kernel, wider, groups = block
            body.append(Inverted(width, whole(out * times), kernel, stride if i == 0 else 1, wider, groups))
            width = whole(out * times)
    return nn.Sequential(*body, *_head(width, _LAST[name]))
