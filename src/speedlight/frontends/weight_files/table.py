"""What a file says of its tensors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stored:
    """One tensor of a file.

    Attributes:
        name: the file's.
        shape: sizes, the fastest-running last (as PyTorch writes them).
        format: our number format.
        bytes: it occupies, padding between tensors not counted.
    """

    name: str
    shape: tuple[int, ...]
    format: str
    bytes: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def rows(self) -> int:
        """Output features of a linear layer's weight."""
        return self.shape[-2] if len(self.shape) > 1 else 1

    @property
    def columns(self) -> int:
        """Input features of a linear layer's weight, the size of a vector."""
        return self.shape[-1] if self.shape else 1


Table = Mapping[str, Stored]


def facts(tensors: Iterable[Stored], files: int = 1) -> dict[str, object]:
    """Sums of a table, as ``graph.attrs["file"]`` holds them."""
    found = list(tensors)
    by_format: dict[str, int] = {}
    for tensor in found:
        by_format[tensor.format] = by_format.get(tensor.format, 0) + tensor.bytes
    return {
        "weight_bytes": sum(t.bytes for t in found), "params": sum(t.elements for t in found),
        "by_format": by_format, "files": files,
    }  # fmt: skip
