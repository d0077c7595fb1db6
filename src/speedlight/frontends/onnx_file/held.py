"""Tensors as the walk knows them: sizes, perhaps numbers, and the memory they lie in."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..._foundation.errors import BadFile
from ..torch_export.recorded import Logical
from .sizes import Poly, Size, product, to_expr
from .types import FLOATING, QUANTIZED


@dataclass
class Home:
    """The memory of a tensor, which its reshaped and sliced forms share.

    Attributes:
        name: what the file calls it.
        cls: ``weight``, ``constant``, ``input`` or ``activation``.
        index: its logical tensor, given when an op first touches it: what nobody touches is not loaded either.
    """

    name: str
    elements: Size
    dtype: str
    cls: str
    index: int | None = None


@dataclass
class Held:
    """A value of the graph by its name.

    Attributes:
        shape: sizes, or None where nobody can tell.
        home: where it lies; None for numbers that need no memory and for what nobody knows.
        value: its numbers, where they are few.
        proto: the ``TensorProto`` its numbers can still be read from.
        constant: the same whatever the inputs are.
        part: what tells a part of its home from others; ``touched`` are then its elements.
        stored: the quantised tensor it is the dequantised form of, while no op had to write that form.
        by: the DequantizeLinear that would write it then.
        items: the tensors of a sequence.
    """

    name: str
    dtype: str
    shape: tuple[Size, ...] | None = None
    home: Home | None = None
    value: np.ndarray | None = None
    proto: Any = None
    constant: bool = False
    part: tuple[Any, ...] = ()
    stored: Held | None = None
    by: Any = None
    items: list[Held] | None = None

    @property
    def elements(self) -> Size | None:
        return None if self.shape is None else product(self.shape)


@dataclass
class Memory:
    """The logical tensors of a walk, by id."""

    tensors: list[Logical] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def index(self, home: Home) -> int:
        """The home's logical tensor, declared when first asked for."""
        if home.index is None:
            named = home.cls != "activation"
            home.index = len(self.tensors)
            self.tensors.append(
                Logical(
                    to_expr(home.elements), home.elements if isinstance(home.elements, int) else None, home.dtype,
                    home.cls, home.cls in ("weight", "activation") and home.dtype in FLOATING,
                    self._free(home) if named else None, written=True,
                )
            )  # fmt: skip
        return home.index

    def learned(self, index: int) -> None:
        """A constant turns out to be trained numbers."""
        tensor = self.tensors[index]
        if tensor.cls == "constant" and tensor.dtype in FLOATING:
            tensor.cls, tensor.needs_grad = "weight", True

    def _free(self, home: Home) -> str:
        name, number = (f"input.{home.name}" if home.cls == "input" else home.name), 1
        free = name
        while free in self.names:
            number += 1
            free = f"{name}#{number}"
        self.names.add(free)
        return free


# Kinds of ops whose floating constants are trained numbers, whatever they are called.
LEARNED_BY = frozenset({"matmul", "conv", "norm", "embedding", "scan", "moe", "attention"})


def class_of(dtype: str, name: str, shape: tuple[int, ...]) -> str:
    """Whether a stored tensor is a weight or a constant (indices, masks, rotary tables).

    Files do not say. Trained numbers are floating or quantised; floating tables that an exporter computed have names it
    made up (``onnx::Mul_12``, ``val_221``, ``/Constant_output_0``), while parameters keep theirs or are vectors. What a
    product or a norm reads becomes a weight then (:data:`LEARNED_BY`).
    """
    if dtype in QUANTIZED and dtype not in FLOATING:
        return "weight"
    named = ("." in name or "/" in name) and not name.startswith(("/", "onnx::"))
    vector = sum(d != 1 for d in shape) < 2
    return "weight" if dtype in FLOATING and (named or vector) else "constant"


def is_number(home: Home) -> bool:
    """A single constant: it comes with the kernel's arguments, not from memory."""
    return home.cls in ("weight", "constant") and not isinstance(home.elements, Poly) and home.elements <= 1


def broadcast(shapes: list[tuple[Size, ...]], where: str) -> tuple[Size, ...]:
    """The common shape, as NumPy broadcasts; a size that follows the batch wins over 1.

    Raises:
        BadFile: where sizes contradict each other.
    """
    rank = max(map(len, shapes), default=0)
    result: list[Size] = []
    for axis in range(rank):
        size: Size = 1
        for shape in shapes:
            place = axis - rank + len(shape)
            other: Size = shape[place] if place >= 0 else 1
            if other == size or other == 1:
                continue
            if size != 1:
                raise BadFile(f"{where}: the shapes {' and '.join(map(shown, shapes))} do not broadcast")
            size = other
        result.append(size)
    return tuple(result)


def shown(shape: tuple[Size, ...]) -> str:
    return "x".join("batch" if isinstance(s, Poly) and s.coefs == (0, 1) else str(s) for s in shape) or "scalar"


def volume(shape: tuple[int, ...]) -> int:
    return math.prod(shape)
