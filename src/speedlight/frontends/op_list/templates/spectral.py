"""Grids: Fourier transforms and stencils."""

from __future__ import annotations

from ...._foundation.expr import Expr, ceildiv, ge, log2, maximum, where
from ..site import Site, streamed, vector
from .template import number_format, size, template, tensor, word

CHIP = "points a unit transforms at once in its own memory"


@template(
    "spectral", n=size("points"), batch=size("transforms", 1), real=word("whether the points are real numbers", "no", "yes"),
    tile=size(CHIP, 4096), x=tensor("the points"),
)  # fmt: skip
def fft(site: Site, n: Expr, batch: Expr, real: str, tile: Expr, x: str | None) -> None:
    """A one-dimensional Fourier transform: 5·n·log2 n real operations, half for real points.

    The count of FFTW's benchmark (Frigo and Johnson, Proc. IEEE 93(2), 2005, §V). Points pass through memory
    ⌈log n/log tile⌉ times: Bailey, FFTs in external or hierarchical memory, 1990.
    """
    _transform(site, n, batch, ceildiv(log2(maximum(n, 2)), log2(tile)), real, x)


@template(
    "spectral", rows=size("of the grid"), columns=size("of the grid"), batch=size("grids", 1),
    real=word("whether the points are real numbers", "no", "yes"), tile=size(CHIP, 4096), x=tensor("the points"),
)  # fmt: skip
def fft2d(
    site: Site, rows: Expr, columns: Expr, batch: Expr, real: str, tile: Expr, x: str | None
) -> None:  # fmt: skip
    """A two-dimensional Fourier transform: 5·N·log2 N operations for N = rows · columns, all rows, then all columns.

    Passes as of the one-dimensional transforms it is made of; one in all where the grid fits the tile. Van Loan,
    Computational Frameworks for the Fast Fourier Transform, §3.4.
    """
    several = ceildiv(log2(maximum(rows, 2)), log2(tile)) + ceildiv(log2(maximum(columns, 2)), log2(tile))
    n = rows * columns
    _transform(site, n, batch, where(ge(tile, n), 1, several), real, x)


def _transform(site: Site, n: Expr, batch: Expr, passes: Expr, real: str, x: str | None) -> None:
    half = 0.5 if real == "yes" else 1.0
    points = n * batch * half  # a real transform is a complex one of half as many points
    source = site.source(x, "x", points, "complex64")
    site.op(
        "fft", "fft", reads=[streamed(source, points * passes)],
        writes=[streamed(site.result(points, "complex64"), points * passes)],
        work=[vector(5 * half * n * log2(maximum(n, 2)) * batch)], span=passes, dims={"rows": batch, "width": n},
    )  # fmt: skip


@template(
    "spectral", points=size("of the grid"), neighbours=size("points an update reads"), steps=size("updates, one after the other", 1),
    together=size("updates done while a part of the grid is on the chip", 1), dtype=number_format("of a point"), x=tensor("the grid"),
)  # fmt: skip
def stencil(
    site: Site, points: Expr, neighbours: Expr, steps: Expr, together: Expr, dtype: str, x: str | None
) -> None:  # fmt: skip
    """Every point from its neighbours: 2·neighbours − 1 FLOPs; the grid moves in and out once for each ``together`` steps.

    Datta et al., Stencil computation optimization and auto-tuning on state-of-the-art multicore architectures, SC 2008.
    """
    source = site.source(x, "x", points, dtype)
    passes = steps / together
    site.op(
        "other", "stencil", reads=[streamed(source, points * passes)],
        writes=[streamed(site.result(points, dtype), points * passes)],
        work=[vector(points * steps * (2 * neighbours - 1), dtype)], span=steps, dims={"rows": points, "width": neighbours},
    )  # fmt: skip
