"""Small modules of every shape that stacks treat in their own way, captured once."""

from __future__ import annotations

from functools import cache

import torch
from torch import nn
from torch.nn import functional as F

from speedlight._foundation.expr import compile_tape
from speedlight.frontends.torch_export import capture
from speedlight.graph.ir import Graph
from speedlight.lowering.kernels import Kernel
from speedlight.lowering.lower import lower
from speedlight.lowering.prepare import as_written
from speedlight.stacks.stack import Stack, load_stack


class ConvNormAct(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x)).relu()


class Residual(nn.Module):
    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
        self.norm1, self.norm2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x + self.norm2(self.conv2(self.norm1(self.conv1(x)).relu()))).relu()


class Images(nn.Module):
    """Stem, pooling, equal layers, a head: what residual networks are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.pool = ConvNormAct(), nn.MaxPool2d(3, 2, 1)
        self.layers = nn.Sequential(*(Residual() for _ in range(4)))
        self.head = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(self.pool(self.stem(x))).mean((2, 3)))


class Block(nn.Module):
    def __init__(self, width: int = 64, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, d))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Tokens(nn.Module):
    """Patches, positions, equal layers, a head: a vision transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.positions = nn.Conv2d(3, 64, 8, 8), nn.Parameter(torch.zeros(1, 16, 64))
        self.layers = nn.Sequential(*(Block() for _ in range(4)))
        self.norm, self.head = nn.LayerNorm(64), nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.norm(self.layers(x))[:, 0])


class Modern(nn.Module):
    """A depthwise convolution and a norm over channels, images turned to rows and back."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depthwise = nn.Conv2d(3, 32, 4, 4), nn.Conv2d(32, 32, 7, padding=3, groups=32)
        self.norm, self.fc1, self.fc2 = nn.LayerNorm(32), nn.Linear(32, 128), nn.Linear(128, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        y = self.fc2(F.gelu(self.fc1(self.norm(self.depthwise(x).permute(0, 2, 3, 1)))))
        return x + y.permute(0, 3, 1, 2)


class Repeated(nn.Module):
    """Layers that receive 16 bit from a convolution once, and 32 bit from each other after that."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 4, 4)
        self.layers = nn.Sequential(*(self.Scaled() for _ in range(5)))

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.scale = nn.Conv2d(16, 16, 3, padding=1), nn.Parameter(torch.ones(16, 1, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.conv(x) * self.scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(self.stem(x))


NETS = {
    "conv": (ConvNormAct, "2x16x32x32"),
    "images": (Images, "2x16x32x32"),
    "tokens": (Tokens, "2x3x32x32"),
    "modern": (Modern, "2x3x64x64"),
    "repeated": (Repeated, "2x3x32x32"),
}


@cache
def net(name: str, layout: str = "nchw") -> Graph:
    factory, shape = NETS[name]
    return capture(factory, [shape], channels_last=layout == "nhwc")


def stack(name: str) -> Stack:
    base, _, place = name.partition("/")
    found = load_stack(base)
    return found.on_cpu or found if place == "cpu" else found


def kernels(graph: Graph, name: str, autocast: str | None = None) -> list[Kernel]:
    """Every kernel in order, those of a folded block as often as the block stands."""
    found = stack(name)
    program = lower(as_written(graph, found, autocast), found)
    return [k for block in program.blocks for _ in range(int(block.count.constant or 1)) for k in block.kernels]


def functions(graph: Graph, name: str, autocast: str | None = None) -> list[str]:
    return [k.fn for k in kernels(graph, name, autocast)]


def moved(found: list[Kernel]) -> float:
    """Bytes of all kernels at a batch of 2."""
    exprs = [a.bytes for k in found for a in k.accesses]
    return float(sum(compile_tape(exprs).run({"batch": 2.0})))


def multiplied(found: list[Kernel]) -> float:
    """FLOPs of products and convolutions at a batch of 2."""
    exprs = [w.flops for k in found for w in k.work if w.unit == "matmul"]
    return float(sum(compile_tape(exprs).run({"batch": 2.0})))
