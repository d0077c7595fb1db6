"""Module paths from what exporters leave in a file: ``/layer1/layer1.0/conv1/Conv`` is ``layer1.0.conv1``.

In this order: the scopes PyTorch's exporter writes beside each node; the node's name, where it has slashes; the name of
a weight it reads (``layer1.0.conv1.weight``). A node with none of these lies where its neighbours do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

MOST = 400  # characters of a path
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"")
_PARAMETER = re.compile(r"^(?P<path>[A-Za-z_][\w.]*)\.(?:weight|bias|running_mean|running_var|gamma|beta)\w*$")


def path_of(node: Any, weights: Iterable[str] = ()) -> str | None:
    """The module path of a ``NodeProto``, or None where nothing says it."""
    owner = next((_clean(f["path"]) for f in (_PARAMETER.match(n[:MOST]) for n in weights) if f), None)
    for entry in node.metadata_props:
        if entry.key.endswith("name_scopes"):
            scopes = [a or b for a, b in _QUOTED.findall(entry.value[: 8 * MOST])]
            return _nearer(_clean(scopes[-2]) if len(scopes) > 1 else "", owner)
    if "/" in node.name:
        return _nearer(_joined([p for p in node.name[:MOST].split("/") if p][:-1]), owner)
    return owner


def _nearer(path: str, owner: str | None) -> str:
    """A batch norm folded into a convolution left it its own place: the weight's module, its sibling, says better."""
    sibling = owner is not None and owner.rpartition(".")[0] == path.rpartition(".")[0]
    return owner if sibling and owner is not None else path


def _joined(parts: Sequence[str]) -> str:
    """Scopes as one path: a scope that spells its parent out (``layer1.0`` in ``layer1``) takes the parent's place."""
    result: list[str] = []
    for part in parts:
        if result and part.startswith(f"{result[-1]}."):
            result[-1] = part
        else:
            result.append(part)
    return _clean(".".join(result))


def _clean(path: str) -> str:
    return ".".join(p for p in path[:MOST].split(".") if p)


def filled(paths: Sequence[str | None]) -> list[str]:
    """Paths for ops that state none: what the stated ones before and after share, for they lie between."""
    after: list[str | None] = [None] * len(paths)
    following: str | None = None
    for i in range(len(paths) - 1, -1, -1):
        following = paths[i] if paths[i] is not None else following
        after[i] = following
    result: list[str] = []
    before: str | None = None
    for stated, following in zip(paths, after, strict=True):
        before = stated if stated is not None else before
        result.append(stated if stated is not None else _shared(before, following))
    return result


def _shared(before: str | None, following: str | None) -> str:
    if before is None or following is None:
        return ""
    common = []
    for a, b in zip(before.split("."), following.split("."), strict=False):
        if a != b:
            break
        common.append(a)
    return ".".join(common)
