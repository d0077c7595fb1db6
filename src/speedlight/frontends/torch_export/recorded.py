"""What a frontend that watches calls hands to :mod:`.assemble`: ops, and the logical tensors they use. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from ..._foundation.expr import Expr
from ...graph.ir import ONE
from .calls import Facts


@dataclass
class Logical:
    """A logical tensor: one version of one storage.

    Attributes:
        name: set for parameters, buffers and inputs; results are named later after their op.
        elements: of the whole storage's tensor.
        size: the same as its frontend states it (an int or a symbolic expression), to tell whole from part.
    """

    elements: Expr
    size: Any
    dtype: str
    cls: str
    needs_grad: bool
    name: str | None = None
    written: bool = False
    width: int = 4


@dataclass(frozen=True)
class Use:
    """A tensor operand before names are known; see :class:`~speedlight.graph.ir.Operand`."""

    tensor: int
    elements: Expr | None = None
    access: str = "streamed"
    granule: Expr | None = None
    reuse: Expr = ONE


@dataclass(frozen=True)
class Recorded:
    """One recorded op; the fields of :class:`~speedlight.graph.ir.Op`.

    Attributes:
        orders, out_orders: how each read and each result lies in memory (:func:`.calls.order_of`); of a tensor read through
            several views, the first.
    """

    path: str
    facts: Facts
    reads: tuple[Use, ...]
    writes: tuple[Use, ...]
    in_place: bool = False
    orders: tuple[str, ...] = ()
    out_orders: tuple[str, ...] = ()


class Tensors(Protocol):
    """The tensors of a recording, by id."""

    @property
    def tensors(self) -> list[Logical]: ...


class Recording(Protocol):
    """Ops in execution order and the tensors they use."""

    @property
    def ops(self) -> list[Recorded]: ...

    @property
    def logicals(self) -> Tensors: ...
