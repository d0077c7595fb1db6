"""What one recorded PyTorch call looks like to the op table: shapes as expressions, no torch in sight.

A :class:`View` is a tensor argument: which logical tensor it looks at (views share one), how much of it, how scattered.
A :class:`Call` is the call; a :class:`Facts` is what the table says it amounts to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..._foundation.expr import Expr, const
from ...graph.ir import ONE, Work


@dataclass(frozen=True, slots=True)
class View:
    """A tensor as one call sees it.

    Attributes:
        tensor: id of the logical tensor (one storage at one version).
        shape: sizes.
        hints: the same as numbers, at the traced size.
        dtype: number format.
        touched: elements of the underlying tensor it covers (an expanded dimension counts once).
        part: what tells different parts of one tensor apart (offset, sizes and strides).
        granule: contiguous elements, where it covers a scattered part of its tensor, else None.
        cls: the tensor's class (``weight``, ``constant``, ``input``, ``activation``).
        order: how it lies in memory, see :func:`order_of`.
        rows: its last dimension lies side by side in memory.
    """

    tensor: int
    shape: tuple[Expr, ...]
    hints: tuple[int, ...]
    dtype: str
    touched: Expr
    part: tuple[Any, ...] = ()
    granule: Expr | None = None
    cls: str = "activation"
    order: str = ""
    rows: bool = True

    @property
    def elements(self) -> Expr:
        return size_of(self.shape)

    @property
    def rank(self) -> int:
        return len(self.shape)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a call does, as the fields of :class:`~speedlight.graph.ir.Op`.

    Attributes:
        reads, writes: tensors used, where they are not simply all tensor arguments and all results. A read may be a
            ``(view, elements, access, granule)`` tuple where only part of the view is touched.
    """

    kind: str
    fn: str
    work: tuple[Work, ...] = ()
    dims: Mapping[str, Expr] = field(default_factory=dict)
    attrs: Mapping[str, Any] = field(default_factory=dict)
    reads: tuple[View | Touch, ...] | None = None
    writes: tuple[View | Touch, ...] | None = None
    span: Expr = ONE
    known: bool = True


@dataclass(frozen=True, slots=True)
class Touch:
    """Part of a view, touched in another way than streaming through it."""

    view: View
    elements: Expr | None = None
    access: str = "streamed"
    granule: Expr | None = None
    reuse: Expr = ONE


@dataclass(frozen=True, slots=True)
class Call:
    """One ATen call.

    Attributes:
        name: without namespace, overload, leading underscore or trailing one (``relu_`` is ``relu``).
        args: by the schema's names; tensors as views, lists of tensors as lists of views.
        outs: result views (for an in-place call the new version of what it overwrites).
        fresh: makes a tensor the call keeps to itself or hands to its next part: (elements, dtype) → view.
        qualified: the name with namespace, as coverage reports it.
        pointwise, reducing: PyTorch's own tags.
        in_place: it overwrites an argument.
    """

    name: str
    args: Mapping[str, Any]
    outs: tuple[View, ...]
    fresh: Callable[[Expr, str], View]
    qualified: str = ""
    pointwise: bool = False
    reducing: bool = False
    in_place: bool = False

    def view(self, name: str) -> View:
        found = self.args[name]
        assert isinstance(found, View), f"{self.qualified}: {name} is no tensor"
        return found

    def optional(self, name: str) -> View | None:
        found = self.args.get(name)
        return found if isinstance(found, View) else None

    @property
    def views(self) -> list[View]:
        """Every tensor argument, in order."""
        result: list[View] = []
        for value in self.args.values():
            if isinstance(value, View):
                result.append(value)
            elif isinstance(value, (list, tuple)):
                result += [v for v in value if isinstance(v, View)]
        return result

    @property
    def out(self) -> View:
        return self.outs[0]


def order_of(shape: Sequence[int], strides: Sequence[int]) -> str:
    """How a view lies in memory: "" for row by row, else its dimensions from the outermost to the innermost.

    ``0231`` is an image with its channels last; dimensions of size 1 are left out, since they lie anywhere. A ``*`` at the
    end says that the view leaves gaps (a slice) or repeats elements (an expanded dimension).
    """
    axes = [i for i, size in enumerate(shape) if size != 1]
    sizes = 1
    for axis in sorted(axes, key=lambda i: strides[i]):
        if strides[axis] != sizes:
            break
        sizes *= shape[axis]
    else:
        order = sorted(axes, key=lambda i: -strides[i])
        return "" if order == axes else "".join(map(str, order))
    return "".join(map(str, sorted(axes, key=lambda i: -strides[i]))) + "*"


def last(view: View, index: int = -1) -> Expr:
    """A size counted from the end; 1 where the tensor has fewer dimensions."""
    return view.shape[index] if view.rank >= -index else const(1)


def size_of(shape: Iterable[Expr]) -> Expr:
    """The product of sizes, its constants multiplied first: ``150528 * batch``."""
    number, result = 1, const(1)
    for size in shape:
        if isinstance(size.constant, int):
            number *= size.constant
        else:
            result = result * size
    return result * number if result.constant is None else const(number) * result


Handler = Callable[[Call], "Facts | list[Facts]"]
