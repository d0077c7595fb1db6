"""A machine's figures by dotted path (``tiers.hbm.bandwidth``): records copied on the way, none altered."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .._foundation.errors import BadInput

Value = Any  # float or numpy array


def times(current: Value | None, factor: Value, path: str) -> Value:
    if current is None:
        raise BadInput(f"{path} is unknown for this machine", hint="state it first, with_values sets it")
    return current * factor


def scale_peak(peak: Any, factor: Value) -> Any:
    sparse = None if peak.sparse_flops is None else peak.sparse_flops * factor
    return dataclasses.replace(peak, flops=peak.flops * factor, sparse_flops=sparse)


def named(items: tuple[Any, ...], name: str, what: str) -> Any:
    for item in items:
        if item.name == name:
            return item
    raise BadInput(
        f"no {what} {name!r}", expected="one of " + (", ".join(i.name for i in items) or "none: it has none")
    )


def check_figure(path: str, value: Value) -> None:
    try:
        good = bool(np.all(np.isfinite(value)) and np.all(np.asarray(value) >= 0))
    except TypeError:
        good = False
    if not good:
        shown = value if np.ndim(value) == 0 else "an array holding a negative or infinite number"
        raise BadInput(f"{path} is {shown}", expected="a finite number of at least 0, or an array of such")


def replaced(machine: Any, parts: list[str], value: Value, path: str) -> Any:
    if parts[0] == "engines" and parts[2:] == ["peaks"]:
        return changed_at(machine, parts, lambda current: current * value, path)
    return changed_at(machine, parts, lambda _: value, path)


def changed_at(record: Any, parts: list[str], change: Callable[[Value], Value], path: str) -> Any:
    """A copy of the record with the figure at the path changed; every record on the way is copied, none altered."""
    head, rest = parts[0], parts[1:]
    known = [f.name for f in dataclasses.fields(record)] if dataclasses.is_dataclass(record) else []
    if head not in known:
        raise BadInput(f"a machine has no figure {path!r}", hint="paths look like tiers.hbm.bandwidth")
    current = getattr(record, head)
    if head == "peaks":
        new: Any = _map_peaks(current, rest, change, path)
    elif isinstance(current, tuple):
        if not rest:
            raise BadInput(f"{path!r} names no single figure", hint="paths look like tiers.hbm.bandwidth")
        named(current, rest[0], head.rstrip("s"))
        new = tuple(changed_at(i, rest[1:] or [""], change, path) if i.name == rest[0] else i for i in current)
    elif rest:
        new = changed_at(current, rest, change, path)
    elif isinstance(current, (str, Mapping)) or dataclasses.is_dataclass(current):
        raise BadInput(f"{path!r} is no figure", hint="paths look like tiers.hbm.bandwidth")
    else:
        new = change(current)
    return dataclasses.replace(record, **{head: new})


def _map_peaks(
    peaks: tuple[Any, ...], wanted: list[str], change: Callable[[Value], Value], path: str
) -> tuple[Any, ...]:
    """Peaks with the dense rate of those wanted (unit, format, accumulator: leading part or all) changed."""
    hit = [[p.unit, p.format, p.accumulate][: len(wanted)] == wanted for p in peaks]
    if not any(hit):
        known = ", ".join(f"{p.unit}.{p.format}.{p.accumulate}" for p in peaks)
        raise BadInput(f"a machine has no figure {path!r}", expected=f"one of the peaks {known}")
    changed = []
    for peak, chosen in zip(peaks, hit, strict=True):
        if chosen:
            flops = change(peak.flops)
            sparse = None if peak.sparse_flops is None else peak.sparse_flops * (flops / peak.flops)
            changed.append(dataclasses.replace(peak, flops=flops, sparse_flops=sparse))
        else:
            changed.append(peak)
    return tuple(changed)
