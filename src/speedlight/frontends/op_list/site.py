"""Where ops are laid down: tensors by name, made as they are needed, and the ops of one block."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..._foundation.errors import BadInput, UnknownName
from ..._foundation.expr import Expr, ExprLike, as_expr
from ...graph.builder import BlockBuilder
from ...graph.ir import ONE, Message, Operand, Persistent, Tensor, Work

HOMES = ("main", "host")


class Site:
    """One op's place in a block: templates and explicit ops build through it.

    Args:
        builder: the block's.
        shared: the file's tensors, which exist once; ``declared``: names of the block's own.
        name: of the op; its own tensors and further ops are called ``name.something``.
        count: instances of everything laid down here.
        out: the name of the result, or None for ``name.out``.
    """

    def __init__(
        self, builder: BlockBuilder, shared: Mapping[str, Tensor], declared: Collection[str], name: str, count: ExprLike = 1,
        out: str | None = None,
    ) -> None:  # fmt: skip
        self.builder = builder
        self.shared = shared
        self.declared = declared
        self.name = name
        self.count = as_expr(count)
        self._out = out

    # tensors ---------------------------------------------------------------------------------------------------------

    def tensor(self, name: str) -> Tensor:
        """A tensor that exists.

        Raises:
            UnknownName: where nothing declares or writes it before.
        """
        known = {**self.shared, **self.builder.tensors}
        if name not in known:
            raise UnknownName("tensor", name, known)
        return known[name]

    def source(
        self, name: str | None, label: str, elements: ExprLike, dtype: str, cls: str = "input", home: str = "main",
    ) -> str:  # fmt: skip
        """The tensor of that name, or a new one of the op's own: an input of the call, or weights, an index, a table."""
        if name is not None:
            self.tensor(name)
            return name
        made = f"{self.name}.{label}"
        size = as_expr(elements)
        kept = None if cls in ("input", "activation") and home == "main" else Persistent(size, "model", ((home, 1.0),))
        self.builder.tensors[made] = Tensor(made, size, dtype, cls, kept, needs_grad=False)
        return made

    def result(self, elements: ExprLike, dtype: str, label: str = "out", cls: str = "activation") -> str:
        """The op's result: a tensor that is declared, or a new one of the block.

        Args:
            cls: ``input`` for what the op also reads and changes in place.
        """
        name = self._out if label == "out" and self._out is not None else f"{self.name}.{label}"
        if name in self.shared or name in self.declared:
            return name
        if name in self.builder.tensors:
            raise BadInput(f"{name!r} is written twice", expected="another name for the second result")
        self.builder.tensors[name] = Tensor(name, as_expr(elements), dtype, cls, None, needs_grad=False)
        return name

    # ops -------------------------------------------------------------------------------------------------------------

    def op(
        self, kind: str, fn: str, *, reads: Sequence[str | Operand] = (), writes: Sequence[str | Operand] = (),
        work: Sequence[Work] = (), step: str = "", span: ExprLike = 1, dims: Mapping[str, ExprLike] | None = None,
        message: Message | None = None, attrs: Mapping[str, Any] | None = None, count: ExprLike = 1,
    ) -> None:  # fmt: skip
        """Lay down one op; ``step`` tells several of one template apart."""
        name = f"{self.name}.{step}" if step else self.name
        if any(op.name == name for op in self.builder.ops[-64:]):
            raise BadInput(f"two ops are called {name!r}", expected="a name of its own for each")
        self.builder.op(
            name, kind, fn, reads=tuple(_operand(r) for r in reads), writes=tuple(_operand(w) for w in writes),
            work=tuple(w for w in work if w.flops != 0), span=as_expr(span), count=self.count * as_expr(count),
            dims={key: as_expr(value) for key, value in (dims or {}).items()}, message=message, attrs=dict(attrs or {}),
        )  # fmt: skip


def _operand(value: str | Operand) -> Operand:
    return Operand(value) if isinstance(value, str) else value


def streamed(tensor: str, elements: ExprLike, reuse: ExprLike = 1, path: str = "copied") -> Operand:
    """Part of a tensor (or all of it several times) in order."""
    return Operand(tensor, as_expr(elements), path=path, reuse=as_expr(reuse))


def scattered(tensor: str, elements: ExprLike, granule: ExprLike, path: str = "copied") -> Operand:
    """Elements at random places, ``granule`` of them side by side."""
    return Operand(tensor, as_expr(elements), "random", as_expr(granule), path)


def vector(flops: ExprLike, number: str = "fp32") -> Work:
    return Work("vector", as_expr(flops), number)


def matmul(flops: ExprLike, number: str, dense: Expr | None = None) -> Work:
    return Work("matmul", as_expr(flops), number, None, dense)


__all__ = ["HOMES", "ONE", "Site", "matmul", "scattered", "streamed", "vector"]
