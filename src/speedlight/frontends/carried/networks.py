"""Networks of the literature that timm does not hold: graphs captured beforehand (``scripts/networks``) and carried along."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from ...graph.ir import Graph
from ...graph.plain import from_plain
from .archive import Archive

FILE = Path(__file__).parent / "networks.graphs"


@lru_cache(maxsize=1)
def _shipped() -> Archive:
    return Archive(FILE)


def network_names() -> list[str]:
    """Every network, sorted."""
    return sorted(_shipped().keys)


@lru_cache(maxsize=32)
def network(name: str) -> Graph | None:
    """The graph of a network at the size its paper uses, in fp32; None for a name of none.

    Raises:
        BadFile: where the file is damaged.
    """
    return from_plain(_shipped().read(name)) if name in _shipped().keys else None


__all__ = ["FILE", "network", "network_names"]
