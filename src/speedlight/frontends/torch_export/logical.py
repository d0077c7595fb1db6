"""Logical tensors: what the storages of fake tensors stand for.

Imports torch, so it is imported only after torch was found. One logical tensor for each storage and version: views share
the storage of what they look at, so they are free; an in-place call makes a new version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ..._foundation.errors import Unsupported
from ..._foundation.expr import Expr, const, evaluate, symbols
from .calls import Touch, View, order_of
from .recorded import Logical, Use
from .shapes import Sizes, hint

DTYPES = {
    torch.float64: "fp64", torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16", torch.int64: "int64",
    torch.int32: "int32", torch.int16: "int16", torch.int8: "int8", torch.uint8: "uint8", torch.bool: "bool",
    torch.complex64: "complex64", torch.float8_e4m3fn: "fp8", torch.float8_e5m2: "fp8", torch.uint16: "int16",
    torch.uint32: "int32", torch.uint64: "int64",
}  # fmt: skip
_FLOATING = frozenset({"fp64", "fp32", "fp16", "bf16", "fp8", "complex64"})


@dataclass
class Logicals:
    """The logical tensors of one trace.

    Attributes:
        sizes: symbolic sizes → expressions.
        tensors: by id, in order of appearance.
        named: parameters, buffers and inputs by name.
    """

    sizes: Sizes
    tensors: list[Logical] = field(default_factory=list)
    named: dict[str, int] = field(default_factory=dict)
    _current: dict[int, int] = field(default_factory=dict)
    _alive: list[Any] = field(default_factory=list)

    def declare(self, tensor: torch.Tensor, name: str, cls: str, needs_grad: bool = False) -> int:
        """Name a parameter, buffer or input before anything reads it; a name that comes again is the same tensor."""
        key = storage_of(tensor)
        if name in self.named:
            self._current[key] = self.named[name]
            self._alive.append(tensor)
            return self.named[name]
        if key in self._current:
            return self._current[key]
        index = self._add(tensor, cls, needs_grad)
        self.named[name] = index
        self.tensors[index].name = name
        self.tensors[index].written = True
        return index

    def _add(self, tensor: torch.Tensor, cls: str, needs_grad: bool) -> int:
        dtype, scale = format_of(tensor.dtype)
        size = tensor.numel()
        whole = self.sizes.expr(size) * scale
        index = self._append(Logical(whole, _plain(size), dtype, cls, needs_grad, width=tensor.element_size()))
        self._current[storage_of(tensor)] = index
        self._alive.append(tensor)  # a freed storage's address could come back as another's
        return index

    def _append(self, logical: Logical) -> int:
        self.tensors.append(logical)
        return len(self.tensors) - 1

    def logical(self, tensor: torch.Tensor) -> int:
        """The tensor's current version; one never seen is a constant of the module's code."""
        index = self._current.get(storage_of(tensor))
        if index is None:
            index = self._add(tensor, "constant", False)
            self.tensors[index].written = True
        return index

    def view(self, tensor: torch.Tensor) -> View:
        """How a call sees this tensor."""
        index = self.logical(tensor)
        logical = self.tensors[index]
        dtype, scale = format_of(tensor.dtype)
        shape = tuple(self.sizes.expr(s) for s in tensor.shape)
        hints = tuple(hint(s) for s in tensor.shape)
        strides = tuple(hint(s) for s in tensor.stride())
        order = order_of(hints, strides)
        touched: Any = 1
        for size, stride in zip(tensor.shape, strides, strict=True):
            if stride != 0:
                touched = touched * size
        rows = not strides or strides[-1] == 1 or hints[-1] == 1
        size = _plain(touched)
        ratio = tensor.element_size() / logical.width
        if size == logical.size or hint(touched) * ratio >= _number(logical.size):
            return View(index, shape, hints, dtype, logical.elements, (), None, logical.cls, order, rows)
        elements = self.sizes.expr(touched) * scale
        run = self._run(tensor, hints, strides)
        scattered = run is not None and run != elements
        part = (hint(tensor.storage_offset()), hints, strides)
        return View(
            index, shape, hints, dtype, elements if ratio == 1 else elements * ratio, part,
            run if scattered else None, logical.cls, order, rows,
        )  # fmt: skip

    def _run(self, tensor: torch.Tensor, hints: tuple[int, ...], strides: tuple[int, ...]) -> Expr | None:
        """Contiguous elements at the inner end of a partial view."""
        run: Any = 1
        expected = 1
        for axis in sorted(range(len(hints)), key=lambda i: strides[i]):
            if hints[axis] == 1 or strides[axis] == 0:
                continue
            if strides[axis] != expected:
                break
            run = run * tensor.shape[axis]
            expected *= hints[axis]
        return self.sizes.expr(run)

    def fresh(self, elements: Expr, dtype: str, needs_grad: bool) -> View:
        """A tensor no torch tensor stands for: between the parts of one call."""
        index = self._append(Logical(elements, None, dtype, "activation", needs_grad, written=True))
        return View(index, (elements,), (1,), dtype, elements)

    def known(self, tensor: torch.Tensor) -> bool:
        return storage_of(tensor) in self._current

    def result(self, tensor: torch.Tensor, needs_grad: bool) -> View | None:
        """The view of a call's result, a new tensor unless its storage is known; None if it holds nothing."""
        if _number(_plain(tensor.numel())) == 0:
            return None
        if not self.known(tensor):
            index = self._add(tensor, "activation", needs_grad and format_of(tensor.dtype)[0] in _FLOATING)
            self.tensors[index].written = True
        return self.view(tensor)

    def alias(self, args: Sequence[Any], out: Any) -> None:
        """A result of a free call that does not share its argument's storage still stands for the argument."""
        sources = [a for a in args if isinstance(a, torch.Tensor)]
        if not sources:
            return
        known = self._current.get(storage_of(sources[0]))
        for result in tensors_of(out):
            key = storage_of(result)
            if key not in self._current and known is not None and result.numel() == sources[0].numel():
                self._current[key] = known
                self._alive.append(result)

    def allocate(self, out: Any) -> None:
        """Memory that holds nothing yet: no op, and nobody reads it before it is written."""
        for result in tensors_of(out):
            self._add(result, "activation", False)

    def version(self, tensor: torch.Tensor, before: View, grad: bool) -> View:
        """A new version of an overwritten tensor; what is kept between steps is overwritten in place."""
        old = self.tensors[before.tensor]
        if old.cls in ("weight", "constant"):
            return before
        grad = (grad or old.needs_grad) and old.dtype in _FLOATING
        index = self._append(
            Logical(old.elements, old.size, old.dtype, "activation", grad, written=True, width=old.width)
        )
        self._current[storage_of(tensor)] = index
        return View(
            index, before.shape, before.hints, before.dtype, before.touched, before.part, before.granule, "activation",
            before.order, before.rows,
        )  # fmt: skip

    def uses(self, views: Sequence[View | Touch]) -> list[Use]:
        """Operands, each tensor once: different parts of one tensor add up, the same part is read once."""
        parts: dict[int, dict[Any, Use]] = {}
        for item in views:
            touch = item if isinstance(item, Touch) else Touch(item)
            view = touch.view
            elements = touch.elements if touch.elements is not None else view.touched
            if self._is_nothing(view):
                continue
            access, granule = touch.access, touch.granule
            if touch.access == "streamed" and view.granule is not None:
                access, granule = "strided", view.granule
            whole = touch.elements is None and not view.part
            use = Use(view.tensor, None if whole else elements, access, granule, touch.reuse)
            parts.setdefault(view.tensor, {}).setdefault(view.part, use)
        return [self._joined(tensor, list(found.values())) for tensor, found in parts.items()]

    def _is_nothing(self, view: View) -> bool:
        """Empty tensors, memory not yet written, and the numbers of the module's code."""
        logical = self.tensors[view.tensor]
        number = logical.cls == "constant" and logical.name is None and logical.size == 1
        return number or logical.size == 0 or not logical.written

    def _joined(self, tensor: int, uses: list[Use]) -> Use:
        if len(uses) == 1:
            return uses[0]
        if any(u.elements is None for u in uses):
            return Use(tensor)
        elements: Expr = const(0)
        for use in uses:
            assert use.elements is not None
            elements = elements + use.elements
        whole = self.tensors[tensor].elements
        if _same(elements, whole):
            return Use(tensor)
        return Use(tensor, elements, uses[0].access, uses[0].granule)


def storage_of(tensor: torch.Tensor) -> int:
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):  # sparse and other storage-less tensors
        return -id(tensor)


def format_of(dtype: torch.dtype) -> tuple[str, int]:
    """(our format, elements of it that make one of PyTorch's)."""
    if dtype == torch.complex128:
        return "fp64", 2
    found = DTYPES.get(dtype)
    if found is None:
        raise Unsupported(f"the module uses tensors of {dtype}", expected="one of " + ", ".join(map(str, DTYPES)))
    return found, 1


def _plain(size: Any) -> Any:
    node = getattr(size, "node", None)
    return int(size) if node is None else node.expr


def _number(size: Any) -> int:
    """A plain size as a number; symbolic ones count as large."""
    return size if isinstance(size, int) else 2**62


def _same(a: Expr, b: Expr) -> bool:
    """Equal at two sizes of the batch (sums of parts rarely have the form of the whole)."""
    names = symbols(a, b)
    return all(evaluate(a, dict.fromkeys(names, n)) == evaluate(b, dict.fromkeys(names, n)) for n in (5.0, 11.0))


def tensors_of(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, (list, tuple)):
        return [t for v in value for t in tensors_of(v)]
    return []
