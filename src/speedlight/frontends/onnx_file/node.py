"""One node as an operator's rule sees it: attributes, sizes and numbers going in, tensors and facts coming out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._foundation.errors import BadFile
from ..._foundation.expr import Expr
from ..torch_export.aten import describe
from ..torch_export.calls import Call, Facts, View
from .held import Held, Home, is_number, shown
from .sizes import Poly, Size, at, product, sign, to_expr
from .types import format_of
from .values import Unsized, sizes_in

if TYPE_CHECKING:
    from .walk import Frame, Walk

LARGEST = 2**48  # elements of one tensor; an activation of a step is far smaller
MOST_NUMBERS = 65536  # of an attribute that is a list
Rule = Callable[["Node"], None]
_FIELDS = {1: "f", 2: "i", 3: "s", 4: "t", 5: "g", 6: "floats", 7: "ints", 8: "strings", 9: "tensors", 10: "graphs"}


class Node:
    """A node of the file, its inputs looked up.

    Attributes:
        op, domain: what it computes.
        inputs: by position; None where an optional one is left out.
        muted: all it reads is constant, so a runtime computes it when it loads the model: nothing is recorded.
        stored: positions of inputs read in their quantised form (:mod:`.quantized`).
        quantizes: the ``QuantizeLinear`` its result runs into within the same kernel, as a format, else None.
    """

    def __init__(self, walk: Walk, frame: Frame, proto: Any, inputs: list[Held | None]) -> None:
        self.walk, self.frame, self.proto = walk, frame, proto
        self.op: str = proto.op_type
        self.domain: str = proto.domain
        self.inputs = inputs
        self.muted = False
        self.stored: frozenset[int] = frozenset()
        self.quantizes: str | None = None
        self._attributes = {a.name: a for a in proto.attribute}

    # what stands in the file ---------------------------------------------------------------------------------------

    @property
    def where(self) -> str:
        """How messages name it."""
        return f"{self.op} {self.proto.name[:80]!r}" if self.proto.name else f"a {self.op}"

    @property
    def opset(self) -> int:
        return self.walk.model.opset

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute's value; inside a function, what the call gave for it."""
        found = self._attributes.get(name)
        if found is not None and found.ref_attr_name:
            found = self.frame.attributes.get(found.ref_attr_name)
        if found is None or found.type not in _FIELDS:
            return default
        value = getattr(found, _FIELDS[found.type])
        if found.type == 3:
            return value.decode("utf-8", "replace")
        if found.type in (6, 7, 8):
            if len(value) > MOST_NUMBERS:
                raise BadFile(
                    f"{self.where} lists {len(value)} numbers as {name!r}", expected=f"at most {MOST_NUMBERS}"
                )
            return list(value)
        return value

    def ints(self, name: str, default: Sequence[int] = ()) -> list[int]:
        return [int(v) for v in self.attr(name, default) or ()]

    def has(self, index: int) -> bool:
        return index < len(self.inputs) and self.inputs[index] is not None

    def wants(self, index: int) -> bool:
        """Whether the output is used at all."""
        return index < len(self.proto.output) and bool(self.proto.output[index])

    # sizes and numbers ---------------------------------------------------------------------------------------------

    def held(self, index: int) -> Held:
        found = self.inputs[index] if index < len(self.inputs) else None
        if found is None:
            raise BadFile(f"{self.where} lacks its input {index}", expected="all inputs the operator needs")
        return found

    def shape(self, index: int) -> tuple[Size, ...]:
        shape = self.held(index).shape
        if shape is None:
            raise Unsized(f"{self.where}: the size of {self.held(index).name[:80]!r} is not known")
        return shape

    def rank(self, index: int) -> int:
        return len(self.shape(index))

    def elements(self, index: int) -> Size:
        return product(self.shape(index))

    def dtype(self, index: int) -> str:
        return self.held(index).dtype

    def value(self, index: int) -> np.ndarray:
        """An input's numbers.

        Raises:
            Unsized: where they are not known, or too many.
        """
        found = self.walk.value_of(self.held(index))
        if found is None:
            raise Unsized(f"{self.where}: {self.held(index).name[:80]!r} is known only from data")
        return found

    def sizes(self, index: int) -> list[Size]:
        return sizes_in(self.value(index))

    def number(self, index: int, default: float | None = None) -> float | None:
        """An input that is a single known number."""
        if not self.has(index):
            return default
        found = self.walk.value_of(self.held(index))
        if found is None or found.dtype == object or found.size != 1:
            return None
        return float(found.ravel()[0])

    def axis(self, rank: int, default: int = 0, name: str = "axis") -> int:
        return self._axis(int(self.attr(name, default)), rank)

    def _axis(self, axis: Any, rank: int) -> int:
        if isinstance(axis, Poly) or not -rank <= axis < max(rank, 1):
            raise BadFile(f"{self.where} names the axis {axis} of {rank}", expected=f"{-rank} to {rank - 1}")
        return int(axis % rank) if rank else 0

    def axes(self, index: int, *, extra: bool = False) -> list[int]:
        """Axes from the attribute, or from the input ``index`` in later opsets; ``extra``: of the result they are added to."""
        stated: list[Any] = self.ints("axes")
        if not stated and self.has(index):
            stated = self.sizes(index)
        rank = self.rank(0) + (len(stated) if extra else 0)
        return [self._axis(a, rank) for a in stated]

    def axes_of(self, index: int, rank: int) -> list[int]:
        """Axes that an input names."""
        return [self._axis(a, rank) for a in self.sizes(index)]

    def slices(self) -> list[tuple[int, Size, Size, int]]:
        """(axis, start, stop, step) of a Slice, as stated."""
        if not self.has(1):
            starts, stops = self.ints("starts"), self.ints("ends")
            axes = self.ints("axes", range(len(starts)))
            return [(self._axis(a, self.rank(0)), s, e, 1) for a, s, e in zip(axes, starts, stops, strict=True)]
        begin, end = self.sizes(1), self.sizes(2)
        on: Sequence[Size] = self.sizes(3) if self.has(3) else range(len(begin))
        by: Sequence[Size] = self.sizes(4) if self.has(4) else [1] * len(begin)
        result: list[tuple[int, Size, Size, int]] = []
        for axis, start, stop, step in zip(on, begin, end, by, strict=True):
            if isinstance(step, Poly) or step == 0:
                raise Unsized(f"{self.where}: a step of {step}")
            result.append((self._axis(axis, self.rank(0)), start, stop, step))
        return result

    def split_sizes(self, total: Size) -> list[Size]:
        """Sizes a Split cuts an axis into."""
        stated: list[Size] = list(self.ints("split"))
        if not stated and self.has(1):
            stated = self.sizes(1)
        if stated:
            return stated
        parts = int(self.attr("num_outputs", len(self.proto.output)))
        if parts < 1:
            raise BadFile(f"{self.where} makes {parts} parts", expected="at least 1")
        if isinstance(total, Poly):
            return [total // parts] * parts
        each = -(-total // parts)
        return [min(each, max(total - i * each, 0)) for i in range(parts)]

    def fill_value(self) -> Any:
        """What a ConstantOfShape fills with."""
        tensor = self.attr("value")
        if tensor is None:
            return 0.0
        return self.walk.value_of(self.walk.stored(tensor, "value"), force=True).ravel()[:1].tolist()[0]  # type: ignore[union-attr]

    # tensors -------------------------------------------------------------------------------------------------------

    def view(self, index: int) -> View:
        """An input as the op table sees it; a dequantised tensor no op wrote yet is written now."""
        held = self.held(index)
        if held.stored is not None and not self.muted:
            if index in self.stored:
                return self.view_of(held.stored, held.shape)
            if held.home is None:
                self.walk.dequantize(self.frame, held)
        return self.view_of(held)

    def maybe(self, index: int) -> View | None:
        return self.view(index) if self.has(index) else None

    def views(self) -> list[View]:
        return [self.view(i) for i in range(len(self.inputs)) if self.has(i)]

    def view_of(self, held: Held, shape: tuple[Size, ...] | None = None) -> View:
        shape = held.shape if shape is None else shape
        if shape is None:
            raise Unsized(f"{self.where}: the size of {held.name[:80]!r} is not known")
        if self.muted:
            return self._unplaced(dataclasses.replace(held, shape=shape))
        home = self.settle(held)
        touched = product(shape) if held.part else home.elements
        index = -1 if is_number(home) else self.walk.logicals.index(home)
        hints = tuple(at(s, self.walk.batch) for s in shape)
        return View(index, tuple(map(to_expr, shape)), hints, held.dtype, to_expr(touched), held.part, None, home.cls)

    def settle(self, held: Held) -> Home:
        """Where a tensor lies; numbers that were folded take memory once an op reads them."""
        if held.home is None:
            held.home = Home(held.name, product(held.shape or ()), held.dtype, "constant")
        return held.home

    def make(self, shape: Sequence[Size], dtype: str | None = None, index: int = 0) -> View:
        """A new tensor as an output; its view, also where nobody uses it."""
        fmt = dtype or self.dtype(0)
        if self.quantizes is not None and index == 0:
            fmt = self.quantizes
        name = self.proto.output[index] if self.wants(index) else f"{self.proto.name}.{index}"
        sizes = tuple(shape)
        for size in sizes:
            if sign(size) < 0:
                raise BadFile(f"{self.where} would make a tensor of shape {shown(sizes)}")
        count = product(sizes)
        if at(count, 2) > LARGEST:
            raise BadFile(
                f"{self.where} would make a tensor of {float(at(count, 2)):.3g} elements",
                expected=f"at most {LARGEST:.3g}",
            )
        home = Home(name, count, fmt, self._class(count) if self.muted else "activation")
        held = Held(name, fmt, sizes, home, constant=self.muted)
        if self.wants(index):
            self.frame.set(name, held)
        return self.view_of(held)

    def _class(self, count: Size) -> str:
        """What is computed from weights at load time is weights; a table spread out from them is a constant."""
        homes = [h.home or (h.stored.home if h.stored else None) for h in self.inputs if h is not None]
        sources = [at(h.elements, 2) for h in homes if h is not None and h.cls == "weight" and not is_number(h)]
        return "weight" if sources and at(count, 2) <= max(sources) else "constant"

    def _unplaced(self, held: Held) -> View:
        shape = held.shape or ()
        return View(
            -1, tuple(map(to_expr, shape)), tuple(at(s, self.walk.batch) for s in shape), held.dtype, to_expr(0)
        )

    def alias(self, shape: Sequence[Size], index: int = 0, source: int = 0, dtype: str | None = None) -> None:
        """An output that is an input in another shape: nothing moves."""
        held = self.held(source)
        name = self.proto.output[index]
        made = Held(name, dtype or held.dtype, tuple(shape), constant=held.constant, part=held.part)
        if held.stored is None:
            made.home = self.settle(held)
        else:
            made.home, made.by = held.home, held.by
            made.stored = dataclasses.replace(held.stored, shape=tuple(shape))
        self.frame.set(name, made)

    def part_of(self, shape: Sequence[Size], part: tuple[Any, ...], index: int = 0) -> None:
        """An output that is part of a constant: the rest of it stays loaded, nothing moves."""
        held = self.held(0)
        name = self.proto.output[index]
        whole = (*held.part, *part)
        self.frame.set(name, Held(name, held.dtype, tuple(shape), self.settle(held), constant=True, part=whole))

    def fresh(self, elements: Expr, dtype: str) -> View:
        return self.walk.fresh(elements, dtype)

    # facts ---------------------------------------------------------------------------------------------------------

    def emit(self, *facts: Facts) -> None:
        if not self.muted:
            for fact in facts:
                self.walk.record(self, fact)

    def call(self, name: str, args: Mapping[str, Any], outs: Sequence[View], **tags: bool) -> None:
        """Record what the op table says of an ATen call."""
        if not self.muted:
            call = Call(name, args, tuple(outs), self.fresh, f"onnx::{self.op}", **tags)
            for facts in describe(call):
                self.emit(dataclasses.replace(
                    facts, reads=tuple(call.views) if facts.reads is None else facts.reads,
                    writes=call.outs if facts.writes is None else facts.writes,
                ))  # fmt: skip

    def tensor_type(self, name: str, default: str) -> str:
        """An attribute that is an element type."""
        number = self.attr(name)
        return default if not number else format_of(int(number), self.where)
