"""timm's image models by name: graphs captured beforehand and carried with the package; no torch, no timm.

``timm.graphs`` holds every architecture that the stated timm version lists, at the sizes its own configurations name
(training and evaluation), with images row by row and channels last. :func:`find` knows pretrained tags
(``resnet50.a1_in1k``), hub ids (``timm/resnet50.a1_in1k``) and former names. Made by ``scripts/carry_timm.py``.

::

    archive.py   the file: an index, and chunks that can be read one by one
    kept.py      graphs captured later, in the user's cache folder
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..._foundation.errors import UnknownName
from ...graph.ir import Graph
from ...graph.plain import from_plain
from ...graph.rewrite.conversions import noted
from .archive import Archive

FILE = Path(__file__).parent / "timm.graphs"
Size = tuple[int, int, int]
_WIDTH = re.compile(r"\d+x\d+d")  # groups and channels of each


@dataclass(frozen=True, slots=True)
class ImageModel:
    """What a name of timm's stands for.

    Attributes:
        name: architecture.
        tag: pretrained tag, empty for the default one.
        size: channels, height and width of the tag's configuration.
        classes: outputs of its classifier; 0 without one.
        module: timm's Python module that defines it.
    """

    name: str
    tag: str
    size: Size
    classes: int
    module: str


@lru_cache(maxsize=1)
def shipped() -> Archive:
    """The carried graphs.

    Raises:
        BadFile: where the file is damaged or missing.
    """
    return Archive(FILE)


def version() -> str:
    """The timm version whose models are carried."""
    return str(shipped().facts["timm"])


def names() -> list[str]:
    """Every architecture, sorted."""
    return sorted(_models())


def _models() -> Mapping[str, Any]:
    found: Mapping[str, Any] = shipped().facts["models"]
    return found


def find(source: str) -> ImageModel | None:
    """The model of a name; None for names that are none of timm's.

    Raises:
        UnknownName: for an unknown tag of a known architecture.
    """
    name, _, tag = source.removeprefix("timm/").partition(".")
    if name not in _models():
        current = _current(name)
        if not current:
            return None
        name, _, new_tag = current.partition(".")
        tag = tag or new_tag
    entry = _models()[name]
    tags: Mapping[str, Sequence[int]] = entry["tags"]
    if tag and tag not in tags:
        raise UnknownName(
            "pretrained tag", f"{name}.{tag}", [f"{name}.{t}" for t in tags if t], "timm.list_pretrained()"
        )
    channels, height, width, classes = tags[tag]
    return ImageModel(name, tag, (channels, height, width), classes, entry["module"])


def _current(former: str) -> str:
    """The name that timm gives a former one; empty for none.

    Its list sends ``ig_resnext101_32x16d``, ``32x32d`` and ``32x48d`` to the architecture of ``32x8d``: a name of another width is
    taken to be the architecture it ends in, where there is one.
    """
    current = str(shipped().facts["renamed"].get(former) or "")
    width = _WIDTH.search(former)
    if not current or width is None or width[0] in current:
        return current
    return next((name for name in _models() if former.endswith(f"_{name}")), "")


def key(name: str, size: Sequence[int], classes: int, layout: str | None) -> str:
    """A graph's key: ``resnet50 3x224x224 1000 contiguous``."""
    return f"{name} {'x'.join(map(str, size))} {classes} {layout or 'contiguous'}"


def carried_graph(name: str, size: Sequence[int], classes: int, layout: str | None = None) -> Graph | None:
    """The carried graph of an architecture at a size, or None where that size is not carried.

    Raises:
        BadFile: where the file is damaged.
    """
    wanted = key(name, size, classes, layout)
    if wanted not in shipped().keys:
        return None
    return _switched(name, from_plain(shipped().read(wanted)))


def _switched(name: str, graph: Graph) -> Graph:
    """With the switches of timm that concern some of its modules (the index names them once for all sizes)."""
    for switch, known in shipped().facts.get("switches", {}).items():
        place = known["of"].get(name)
        if place is not None:
            graph = noted(graph, switch, known["paths"][place])
    return graph


__all__ = ["ImageModel", "carried_graph", "find", "key", "names", "shipped", "version"]
