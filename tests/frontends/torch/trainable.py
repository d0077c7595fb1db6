"""Small modules of each kind people train, without what CPUs and GPUs save differently (masks of dropout, recurrent kernels)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Basic(nn.Module):
    """A residual block with batch norms, in-place activations and a projection where sizes change."""

    def __init__(self, wide: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.c1, self.b1 = nn.Conv2d(wide, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.c2, self.b2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        self.down = (
            nn.Sequential(nn.Conv2d(wide, out, 1, stride, bias=False), nn.BatchNorm2d(out)) if stride > 1 else None
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.b2(self.c2(self.relu(self.b1(self.c1(x)))))
        y += x if self.down is None else self.down(x)
        return self.relu(y)


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 7, 2, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        )
        self.layers = nn.Sequential(Basic(16, 16), Basic(16, 16), Basic(16, 32, 2), Basic(32, 32))
        self.fc = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.layers(self.stem(x)).mean((2, 3)))


class Block(nn.Module):
    """A pre-norm transformer layer over fused attention."""

    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.heads, self.n1, self.n2 = heads, nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.mix(self.n1(x))
        return x + self.mlp(self.n2(x))

    def mix(self, x: torch.Tensor) -> torch.Tensor:
        b, n, d = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, d))


class Transformer(nn.Module):
    def __init__(self, d: int = 64) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block(d, 4) for _ in range(3)))
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.blocks(x)).mean(1))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()

        def pair(a: int, b: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(a, b, 3, padding=1), nn.GroupNorm(4, b), nn.SiLU(),
                nn.Conv2d(b, b, 3, padding=1), nn.GroupNorm(4, b), nn.SiLU(),
            )  # fmt: skip

        self.d1, self.d2, self.u1 = pair(3, 16), pair(16, 32), pair(32, 16)
        self.pool, self.up, self.out = nn.MaxPool2d(2), nn.ConvTranspose2d(32, 16, 2, 2), nn.Conv2d(16, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.d1(x)
        return self.out(self.u1(torch.cat([self.up(self.d2(self.pool(a))), a], 1)))


class Gated(nn.Module):
    """Squeeze-and-excitation behind a hard swish: factors that are broadcast."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.reduce, self.expand, self.out = nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1), nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.hardswish(self.norm(self.conv(x)))
        x = x * torch.sigmoid(self.expand(F.relu(self.reduce(x.mean((2, 3), keepdim=True)))))
        return self.out(x.mean((2, 3)))


class Depthwise(nn.Module):
    """A ConvNeXt block with layer scale."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.dw = nn.Conv2d(3, 24, 4, 4), nn.Conv2d(24, 24, 7, padding=3, groups=24)
        self.norm, self.f1, self.f2 = nn.LayerNorm(24), nn.Linear(24, 96), nn.Linear(96, 24)
        self.gamma = nn.Parameter(torch.ones(24))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        y = self.f2(F.gelu(self.f1(self.norm(self.dw(x).permute(0, 2, 3, 1))))) * self.gamma
        return x + y.permute(0, 3, 1, 2)


class GatedMLP(nn.Module):
    """RMS norm call by call, then a gated feed-forward layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(64, 256, bias=False), nn.Linear(64, 256, bias=False)
        self.c, self.w = nn.Linear(256, 64, bias=False), nn.Parameter(torch.ones(64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.w
        return x + self.c(F.silu(self.a(y)) * self.b(y))


class Pools(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(512, 64), nn.Tanh(), nn.Linear(64, 10), nn.LogSoftmax(-1),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


class Selective(nn.Module):
    """A selective state space layer as plain PyTorch: a Python loop over the steps."""

    def __init__(self, d: int = 32, n: int = 8) -> None:
        super().__init__()
        self.wide, self.n = 2 * d, n
        self.inp, self.out = nn.Linear(d, 4 * d, bias=False), nn.Linear(2 * d, d, bias=False)
        self.conv = nn.Conv1d(2 * d, 2 * d, 4, padding=3, groups=2 * d)
        self.x, self.dt = nn.Linear(2 * d, 4 + 2 * n, bias=False), nn.Linear(4, 2 * d)
        self.a, self.d = nn.Parameter(torch.ones(2 * d, n)), nn.Parameter(torch.ones(2 * d))

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        batch, steps, _ = u.shape
        x, z = self.inp(u).chunk(2, -1)
        x = F.silu(self.conv(x.transpose(1, 2))[..., :steps].transpose(1, 2))
        dt, b, c = torch.split(self.x(x), [4, self.n, self.n], -1)
        dt = F.softplus(self.dt(dt))
        decay = torch.exp(dt.unsqueeze(-1) * -torch.exp(self.a))
        inflow = (dt * x).unsqueeze(-1) * b.unsqueeze(2)
        h = torch.zeros(batch, self.wide, self.n)
        ys = []
        for t in range(steps):
            h = decay[:, t] * h + inflow[:, t]
            ys.append((h * c[:, t].unsqueeze(1)).sum(-1))
        return self.out((torch.stack(ys, 1) + x * self.d) * F.silu(z))


MODULES = {
    "resnet": (ResNet, "4x3x64x64"), "transformer": (Transformer, "2x50x64"), "unet": (UNet, "2x3x32x32"),
    "gated": (Gated, "4x3x32x32"), "depthwise": (Depthwise, "2x3x64x64"), "gated_mlp": (GatedMLP, "4x32x64"),
    "pools": (Pools, "4x3x32x32"), "selective": (Selective, "2x6x32"),
}  # fmt: skip
