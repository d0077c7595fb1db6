"""What the graph's inputs are: fixed sizes from the file, the batch, and dynamic axes as ``--input`` states them.

A dynamic first axis is the batch, the one size that stays free. Every other dynamic axis must be stated, by an input's
whole shape (``input_ids=1x128``, or in order without names) or by the axis's own name (``sequence=128``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..._foundation.errors import BadInput, Unsupported
from ..torch_export.inputs import InputShape, parse_input
from .reading import Model
from .sizes import FREE, Size
from .types import format_of

EXPECTED = "NAME=sizes joined by x, as in input_ids=1x128, sizes alone in the file's order, or AXIS=size"


@dataclass(frozen=True)
class Entry:
    """One input of the graph, its sizes decided."""

    name: str
    dtype: str
    shape: tuple[Size, ...]


@dataclass(frozen=True)
class Entries:
    """The graph's inputs.

    Attributes:
        batch: the batch that was stated, else 1 (or what the file fixes).
        free: whether any axis follows the batch.
        symbol: what the file calls the batch axis.
    """

    inputs: tuple[Entry, ...]
    batch: int
    free: bool
    symbol: str | None


def entries(model: Model, texts: Sequence[str], fixed: bool = False) -> Entries:
    """The inputs' sizes.

    Args:
        texts: what ``--input`` states, one text an input.
        fixed: take the batch as the stated number instead of leaving it free.

    Raises:
        BadInput: for an axis without a size (naming it), for sizes that contradict the file, and for unknown names.
    """
    graph = model.proto.graph
    initial = {t.name for t in graph.initializer} | {t.values.name for t in graph.sparse_initializer}
    declared = [i for i in graph.input if i.name not in initial]
    kinds = [_tensor(i) for i in declared]
    stated, axes = _stated(texts, declared, {d.dim_param for k in kinds for d in k.shape.dim if d.dim_param})
    for info, kind in zip(declared, kinds, strict=True):
        if info.name in stated:
            _bind(info.name, kind, stated[info.name], axes)
    symbol = next((k.shape.dim[0].dim_param for k in kinds if k.shape.dim and _is_open(k.shape.dim[0])), None)
    leading = [(i.name, k) for i, k in zip(declared, kinds, strict=True) if k.shape.dim and _is_open(k.shape.dim[0])]
    batch = next((stated[n].shape[0] for n, _ in leading if n in stated), axes.get(symbol or "", 1))
    if not leading:
        batch = next((int(k.shape.dim[0].dim_value) for k in kinds if k.shape.dim), 1)
    size: Size = batch if fixed else FREE
    found = []
    for info, kind in zip(declared, kinds, strict=True):
        given = stated.get(info.name)
        if not kind.HasField("shape") and given is None:
            raise BadInput(f"the file states no shape of the input {info.name!r}", expected=f"--input {info.name}=1x…")
        shape = given.shape if given is not None and not kind.HasField("shape") else None
        dims = shape if shape is not None else _sizes(info.name, kind, given, axes, symbol, batch, size)
        found.append(Entry(info.name, format_of(kind.elem_type, f"the input {info.name!r}"), tuple(dims)))
    return Entries(tuple(found), batch, bool(leading) and not fixed, symbol if leading else None)


def _tensor(info: Any) -> Any:
    which = info.type.WhichOneof("value")
    if which != "tensor_type":
        raise Unsupported(f"the input {info.name[:80]!r} is a {which or 'value of no type'}", expected="a tensor")
    return info.type.tensor_type


def _is_open(dim: Any) -> bool:
    return not dim.HasField("dim_value") or dim.dim_value < 1


def _stated(
    texts: Sequence[str], declared: Sequence[Any], params: set[str]
) -> tuple[dict[str, InputShape], dict[str, int]]:
    """(shapes by input, sizes by axis name)."""
    names = [i.name for i in declared]
    shapes: dict[str, InputShape] = {}
    axes: dict[str, int] = {}
    position = 0
    for text in (texts,) if isinstance(texts, str) else texts:
        name, equals, rest = text.strip().rpartition("=")
        shape = parse_input(rest if equals else text)
        if not equals:
            if shapes.keys() - set(names[:position]) or axes:
                raise BadInput("a positional input follows a named one", expected="positional inputs first")
            if position >= len(names):
                raise BadInput(
                    f"{position + 1} inputs are given", expected=f"at most {len(names)}: {', '.join(names[:8])}"
                )
            name = names[position]
            position += 1
        if name in shapes or name in axes:
            raise BadInput(f"the input {name!r} is given twice", expected="each name once")
        if name in names:
            shapes[name] = shape
        elif name in params and len(shape.shape) == 1:
            axes[name] = shape.shape[0]
        else:
            known = [*names[:8], *sorted(params)[:8]]
            raise BadInput(
                f"the file has no input or axis {name!r}", expected=EXPECTED, hint="it has " + ", ".join(known)
            )
    return shapes, axes


def _bind(name: str, kind: Any, given: InputShape, axes: dict[str, int]) -> None:
    """Check a stated shape against the file's; named axes get their sizes."""
    if given.dtype is not None and given.dtype != format_of(kind.elem_type, name):
        raise BadInput(
            f"the input {name!r} is stated as {given.dtype}",
            expected=f"{format_of(kind.elem_type, name)}, as the file says",
        )
    if not kind.HasField("shape"):
        return
    dims = kind.shape.dim
    if len(dims) != len(given.shape):
        raise BadInput(
            f"the input {name!r} is stated with {len(given.shape)} sizes", expected=f"{len(dims)}: {_spelled(dims)}"
        )
    for place, (dim, size) in enumerate(zip(dims, given.shape, strict=True)):
        if not _is_open(dim):
            if dim.dim_value != size:
                raise BadInput(
                    f"the input {name!r} is stated with {size} for its axis {place}",
                    expected=f"{_spelled(dims)}: the file fixes it", hint="export it again with a dynamic axis",
                )  # fmt: skip
        elif dim.dim_param and place > 0 and axes.setdefault(dim.dim_param, size) != size:
            raise BadInput(
                f"the axis {dim.dim_param!r} is stated as {axes[dim.dim_param]} and as {size}", expected="one size"
            )


def _spelled(dims: Any) -> str:
    return "x".join(str(d.dim_value) if not _is_open(d) else d.dim_param or "?" for d in dims) or "a scalar"


def _sizes(
    name: str, kind: Any, given: InputShape | None, axes: dict[str, int], symbol: str | None, batch: int, free: Size
) -> list[Size]:
    result: list[Size] = []
    for place, dim in enumerate(kind.shape.dim):
        stated = given.shape[place] if given is not None else axes.get(dim.dim_param) if dim.dim_param else None
        if not _is_open(dim):
            result.append(int(dim.dim_value))
        elif (place == 0 and stated in (None, batch)) or (symbol and dim.dim_param == symbol):
            result.append(free)
        elif stated is not None:
            result.append(stated)
        else:
            axis = repr(dim.dim_param) if dim.dim_param else f"axis {place}"
            example = "x".join(
                str(d.dim_value) if not _is_open(d) else "1" if i == 0 else "128" for i, d in enumerate(kind.shape.dim)
            )
            raise BadInput(
                f"the input {name!r} ({_spelled(kind.shape.dim)}) leaves {axis} open", expected=EXPECTED,
                hint=f"for example --input {name}={example}",
            )  # fmt: skip
    return result
