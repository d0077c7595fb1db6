"""Small networks of no model's sizes: several operators among one another, as models run them.

In a loop over one operator its code, the dispatcher's tables and all operands lie in the core's caches. Here others come between; which
others differs, so that what each of them takes more can be told apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .made import Made


def _convolutions(torch: Any, tensor: Any, b: int, channels: int, side: int, depth: int) -> Made:
    """A small network of residual convolutions: what operators take among others, whose memory and caches they share."""
    nn = torch.nn

    def block() -> Any:
        convolution = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU())

    return _network(torch, [block() for _ in range(depth)], tensor(b, channels, side, side))


def _separable(torch: Any, tensor: Any, b: int, channels: int, side: int, depth: int) -> Made:
    """The same of pointwise and depthwise convolutions, four times as wide inside."""
    nn, wide = torch.nn, 4 * channels

    def block() -> Any:
        return nn.Sequential(
            nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.Hardswish(),
            nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.Hardswish(),
            nn.Conv2d(wide, channels, 1, bias=False), nn.BatchNorm2d(channels),
        )  # fmt: skip

    return _network(torch, [block() for _ in range(depth)], tensor(b, channels, side, side))


def _attending(torch: Any, tensor: Any, b: int, tokens: int, width: int, depth: int) -> Made:
    """The same of pre-norm attention and perceptrons."""
    nn, heads = torch.nn, max(width // 64, 1)

    class Attention(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.q, self.k, self.v, self.out = (
                nn.LayerNorm(width),
                *(nn.Linear(width, width) for _ in range(4)),
            )

        def forward(self, x: Any) -> Any:
            y = self.norm(x)
            parts = (f(y).view(b, tokens, heads, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
            return self.out(
                nn.functional.scaled_dot_product_attention(*parts).transpose(1, 2).reshape(b, tokens, width)
            )

    def perceptron() -> Any:
        return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    return _network(torch, [f() for _ in range(depth) for f in (Attention, perceptron)], tensor(b, tokens, width))


def _filtering(torch: Any, tensor: Any, b: int, channels: int, side: int, kernel: int, depth: int) -> Made:
    """The same of depthwise convolutions alone."""
    nn = torch.nn

    def block() -> Any:
        convolution = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(channels))

    return _network(torch, [block() for _ in range(depth)], tensor(b, channels, side, side))


def _gated(torch: Any, tensor: Any, b: int, channels: int, side: int, depth: int) -> Made:
    """The same of gates: an image's channels scaled by what a small perceptron makes of their means."""
    nn = torch.nn

    class Gate(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            narrow = max(channels // 4, 8)
            self.reduce, self.expand = nn.Conv2d(channels, narrow, 1), nn.Conv2d(narrow, channels, 1)

        def forward(self, x: Any) -> Any:
            means = x.mean((2, 3), keepdim=True)
            return x * torch.sigmoid(self.expand(torch.relu(self.reduce(means))))

    return _network(torch, [Gate() for _ in range(depth)], tensor(b, channels, side, side))


def _pointwise(torch: Any, tensor: Any, b: int, channels: int, side: int, depth: int) -> Made:
    """The same of 1 x 1 convolutions with a bias."""
    nn = torch.nn
    blocks = [nn.Sequential(nn.Conv2d(channels, channels, 1), nn.SiLU()) for _ in range(depth)]
    return _network(torch, blocks, tensor(b, channels, side, side))


def _branching(torch: Any, tensor: Any, b: int, channels: int, side: int, depth: int) -> Made:
    """The same of branches, a convolution's and a pool's, laid beside one another."""
    nn = torch.nn

    class Branches(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.one, self.both = nn.Conv2d(channels, channels, 1, bias=False), nn.Conv2d(2 * channels, channels, 1)
            self.norm, self.pool = nn.BatchNorm2d(channels), nn.AvgPool2d(3, 1, 1)

        def forward(self, x: Any) -> Any:
            return self.both(torch.cat((torch.relu(self.norm(self.one(x))), self.pool(x)), 1))

    return _network(torch, [Branches() for _ in range(depth)], tensor(b, channels, side, side))


def _token_filters(torch: Any, tensor: Any, b: int, side: int, width: int, depth: int) -> Made:
    """The same of perceptrons over tokens with a depthwise convolution of their image inside."""
    nn, wide = torch.nn, 4 * width

    class Filters(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.rise, self.fall = nn.LayerNorm(width), nn.Linear(width, wide), nn.Linear(wide, width)
            self.filter = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)

        def forward(self, x: Any) -> Any:
            image = self.rise(self.norm(x)).transpose(1, 2).view(b, wide, side, side)
            return self.fall(nn.functional.gelu(self.filter(image).flatten(2).transpose(1, 2)))

    return _network(torch, [Filters() for _ in range(depth)], tensor(b, side * side, width))


def _rowwise_chain(torch: Any, tensor: Any, b: int, tokens: int, width: int, depth: int) -> Made:
    """The same of passes over rows: norms, functions, halves that change places, rows across."""
    nn = torch.nn

    class Passes(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(width)

        def forward(self, x: Any) -> Any:
            one, other = self.norm(x).chunk(2, -1)
            turned = torch.cat((-other, one), -1)
            gate = torch.softmax(nn.functional.gelu(turned), -1)
            return (gate * x).transpose(1, 2).contiguous().transpose(1, 2)

    return _network(torch, [Passes() for _ in range(depth)], tensor(b, tokens, width))


def _network(torch: Any, blocks: list[Any], x: Any) -> Made:
    """Blocks one after another, each added to what it was given."""

    class Network(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.blocks = torch.nn.ModuleList(blocks)

        def forward(self, x: Any) -> Any:
            for block in self.blocks:
                x = x + block(x)
            return x

    module = Network().eval().to(x.device)
    return Made(module, (x,), module=module)


NETWORKS: Mapping[str, Callable[..., Made]] = {
    "convolutions": _convolutions,
    "separable": _separable,
    "attending": _attending,
    "filtering": _filtering,
    "gated": _gated,
    "pointwise": _pointwise,
    "branching": _branching,
    "token_filters": _token_filters,
    "rowwise_chain": _rowwise_chain,
}
