"""LinkNet (arXiv 1707.03718): a ResNet-18 encoder whose stages are added to the decoder's."""

from __future__ import annotations

from torch import Tensor, nn


class Residual(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inside, outside, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outside),
            nn.ReLU(inplace=True),
            nn.Conv2d(outside, outside, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outside),
        )
        same = inside == outside and stride == 1
        self.skip = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))
        )
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.body(x) + self.skip(x))


def decoder(inside: int, outside: int, stride: int = 2) -> nn.Sequential:
    """Down to a quarter of the width, up in size, to the next width."""
    thin = inside // 4

    def behind(width: int) -> list[nn.Module]:
        return [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]

    return nn.Sequential(
        nn.Conv2d(inside, thin, 1, bias=False),
        *behind(thin),
        nn.ConvTranspose2d(thin, thin, 3, stride, 1, stride - 1, bias=False),
        *behind(thin),
        nn.Conv2d(thin, outside, 1, bias=False),
        *behind(outside),
    )


class LinkNet(nn.Module):
    def __init__(self, classes: int = 20) -> None:
        super().__init__()
        widths = (64, 128, 256, 512)
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        )
        self.encode = nn.ModuleList(
            nn.Sequential(Residual(i, o, 1 if i == o else 2), Residual(o, o, 1))
            for i, o in zip((64, *widths[:-1]), widths, strict=True)
        )
        self.decode = nn.ModuleList(
            decoder(i, o, 1 if i == o else 2) for i, o in zip(reversed(widths), (256, 128, 64, 64), strict=True)
        )
        self.last = nn.Sequential(
            nn.ConvTranspose2d(64, 32, 3, 2, 1, 1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 32, 3, 1, 1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(32, classes, 2, 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        x, found = self.stem(x), []
        for stage in self.encode:
            x = stage(x)
            found.append(x)
        found.pop()
        for i, stage in enumerate(self.decode):
            x = stage(x)
            if i < 3:
                skip = found.pop()
                x = x[:, :, : skip.shape[2], : skip.shape[3]] + skip
        return self.last(x)


def linknet() -> nn.Module:
    return LinkNet()
