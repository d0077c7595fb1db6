"""Reversible inverted bottlenecks in a 3D U-Net: layers' inputs are computed again from their outputs.

What training keeps of a level is then its output alone, not every layer's: at one budget of memory the volume, the depth or the
channels may grow by what is saved. Arithmetic of the feature maps of a published 3D U-Net.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives

LEVELS = 5  # resolutions halved in each of three dimensions, channels doubled


def _kept(channels: float, layers: float, *, reversible: bool, wider: float, ends: float) -> float:
    """Numbers kept for the backward pass, in units of the input volume.

    Each level keeps per layer its norm's and rectifier's inputs (of ``wider`` times the channels in an inverted bottleneck);
    a reversible chain keeps its end. Ways down and up, skips and changes of resolution are kept in both.
    """
    total = 0.0
    for level in range(LEVELS):
        size = channels * 2**level / 8**level
        ways = 2 if level < LEVELS - 1 else 1
        chain = size if reversible else layers * 3 * size * wider
        working = 3 * size * wider if reversible else 0.0  # one layer's, while it is computed again
        total += ways * (chain + ends * size) + (working if level == 0 else 0.0)
    return total


def _ratio(bench: Bench, wider: float, ends: float) -> float:
    whole = _kept(bench.size(24), 2, reversible=False, wider=wider, ends=ends)
    return whole / _kept(bench.size(24), 2, reversible=True, wider=wider, ends=ends)


def _spans(bench: Bench) -> list[float]:
    """Memory of the plain network over that of the reversible one."""
    return [
        _ratio(bench, wider, ends)
        for wider in bench.unstated("inner width", (1.0, 2.0), "of the bottlenecks that are compared, over the level's channels")
        for ends in bench.unstated("maps kept in both", (2.0, 4.0), "skips, changes of resolution, norms outside the chains")
    ]  # fmt: skip


@derives("memory-efficient-3d-u-net-with-reversible-mobile-inverted-bo#1")
def volume(bench: Bench) -> Finding:
    return over(
        [exactly(bench.size(x)) for x in _spans(bench)],
        "maps kept are in proportion to the volume: it grows by what is saved",
    )


@derives("memory-efficient-3d-u-net-with-reversible-mobile-inverted-bo#2")
def depth(bench: Bench) -> Finding:
    """Layers more for the same memory; a reversible chain costs nothing by depth, so what is stated is a choice within it."""
    spans = [exactly(bench.size((x - 1) * 100)) for x in _spans(bench)]
    return over(
        spans,
        "layers of plain chains that the saved memory would hold; reversible ones would take any number, so this is a floor",
    )


@derives("memory-efficient-3d-u-net-with-reversible-mobile-inverted-bo#3")
def channels(bench: Bench) -> Finding:
    return over(
        [exactly(bench.size(x)) for x in _spans(bench)],
        "maps kept are in proportion to the channels, weights aside",
    )
