"""Layouts that cannot be: each rule finds the impossible points of a question and says what to change.

A rule gives a mask over the question's points, so that a sweep knows which of them are possible (:func:`possible`) and one
question gets the first complaint (:func:`refuse`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._foundation.errors import BadInput
from ..scenario.scenario import Parallel, Wire
from .mesh import expert_width, replicas

Value = Any
KINDS = ("ring", "ulysses", "gather")
CARRIED = ("tensor", "experts", "context", "gradients", "weights", "stages")
BESIDE = ("", "product", "half", "attention", "block")
_LEAST = {"zero": 0, "sp": 0}
_MOST = {"zero": 3, "sp": 1}


@dataclass(frozen=True, slots=True)
class Complaint:
    """Where a layout is impossible, and what to say about it.

    Attributes:
        bad: mask over the points; true where it is.
        names: the fields it is about, whose values at the first bad point complete ``text`` (``{tp}``).
        text, expected, hint: as in :class:`BadInput`.
    """

    bad: Any
    names: tuple[tuple[str, Value], ...]
    text: str
    expected: str
    hint: str = ""

    def error(self) -> BadInput:
        bad = np.asarray(self.bad)
        first = int(np.argmax(np.ravel(bad)))
        values = {}
        for name, value in self.names:
            array = np.asarray(value)
            spread = np.ravel(np.broadcast_to(array, bad.shape)) if array.ndim else np.array([array.item()])
            number = spread[first if spread.size > 1 else 0]
            values[name] = f"{number:g}" if isinstance(number, (int, float, np.number)) else str(number)
        return BadInput(
            self.text.format(**values), expected=self.expected.format(**values), hint=self.hint.format(**values)
        )


def refuse(complaints: Iterator[Complaint]) -> None:
    """Raise the first complaint that holds anywhere.

    Raises:
        BadInput: naming the first impossible point and what to change.
    """
    for complaint in complaints:
        if np.any(complaint.bad):
            raise complaint.error()


def possible(complaints: Iterator[Complaint]) -> Any:
    """Mask of the points nothing is wrong with."""
    fine: Any = True
    for complaint in complaints:
        fine = fine & ~np.asarray(complaint.bad)
    return fine


def validate(parallel: Parallel) -> None:
    """Refuse degrees that are no positive whole numbers, and those that do not go together.

    Raises:
        BadInput: for the first of them.
    """
    for field in dataclasses.fields(parallel):
        value = getattr(parallel, field.name)
        if value is None or field.name in ("context", "stages", "wires"):
            continue
        least, most = _LEAST.get(field.name, 1), _MOST.get(field.name, 2**31)
        array = np.asarray(value)
        if array.size == 0 or array.dtype.kind not in "iuf" or not np.all(np.isfinite(array)):
            raise BadInput(f"{field.name} is {value!r}", expected="a whole number")
        if np.any(array != np.floor(array)):
            raise BadInput(f"{field.name} is {value!r}", expected="a whole number")
        if np.any(array < least) or np.any(array > most):
            limits = f"{least} to {most}" if field.name in _MOST else f"at least {least}"
            raise BadInput(f"{field.name} is {value!r}", expected=limits)
    if parallel.context not in KINDS:
        raise BadInput(f"context parallelism {parallel.context!r} is not known", expected="one of " + ", ".join(KINDS))
    for layers in parallel.stages:
        if isinstance(layers, bool) or not isinstance(layers, int) or layers < 1:
            raise BadInput(f"a pipeline stage of {layers!r} layers", expected="at least one layer in each of stages")
    for wire in parallel.wires:
        _wire(wire)
    sorts = [wire.carries for wire in parallel.wires]
    if len(set(sorts)) < len(sorts):
        raise BadInput(f"messages of {max(sorts, key=sorts.count)} are described twice", expected="each sort once")
    refuse(mesh_complaints(parallel))


def _wire(wire: Wire) -> None:
    """Refuse what no message can be."""
    if wire.carries not in CARRIED:
        raise BadInput(f"no message carries {wire.carries!r}", expected="one of " + ", ".join(CARRIED))
    if wire.beside not in BESIDE:
        raise BadInput(f"messages beside {wire.beside!r}", expected="one of " + ", ".join(BESIDE[1:]))
    if wire.collective not in ("", "all_gather"):
        raise BadInput(f"{wire.carries} by {wire.collective!r}", expected="all_gather, or as the layout has it")
    for name, least, most in (
        ("share", 0.0, np.inf), ("passes", 0.0, np.inf), ("kept", 0.0, np.inf), ("period", 1.0, np.inf), ("lag", 0, np.inf),
        ("parts", 1.0, np.inf), ("units", 0.0, 1.0), ("stays", 0.0, 1.0),
    ):  # fmt: skip
        value = getattr(wire, name)
        if value is not None and not np.all((np.asarray(value) >= least) & (np.asarray(value) <= most)):
            raise BadInput(f"{wire.carries}: {name} is {value!r}", expected=f"{least:g} to {most:g}")


def mesh_complaints(parallel: Parallel) -> Iterator[Complaint]:
    """What is wrong with the degrees by themselves."""
    ranks, group = parallel.tp * replicas(parallel), parallel.ep * expert_width(parallel)
    named = (("tp", parallel.tp), ("cp", parallel.cp), ("dp", parallel.dp), ("ep", parallel.ep), ("group", group))
    yield Complaint(
        np.asarray(ranks) % np.asarray(group) != 0, named,
        "experts over {group} ranks (ep {ep}) do not divide tp {tp} × cp {cp} × dp {dp}",
        "ep · etp that divides tp · cp · dp", "use a smaller --ep, or more --tp or --dp",
    )  # fmt: skip
    if parallel.shard is not None:
        copies = replicas(parallel)
        yield Complaint(
            np.asarray(copies) % np.asarray(parallel.shard) != 0, (("shard", parallel.shard), ("copies", copies)),
            "shards over {shard} ranks do not divide the {copies} replicas (dp · cp)", "a divisor of {copies}",
        )  # fmt: skip
    if parallel.near is not None:
        copies = replicas(parallel)
        yield Complaint(
            np.asarray(copies) % np.asarray(parallel.near) != 0, (("near", parallel.near), ("copies", copies)),
            "a second copy over {near} ranks does not divide the {copies} replicas (dp · cp)", "a divisor of {copies}",
        )  # fmt: skip
    for name in ("first", "last"):
        value = getattr(parallel, name)
        if value is not None:
            yield Complaint(
                np.asarray(parallel.pp) < 2,
                ((name, value),),
                f"--{name} {{{name}}} without a pipeline",
                "--pp of at least 2",
            )
    if parallel.stages:
        yield Complaint(
            len(parallel.stages) % np.asarray(parallel.pp) != 0, (("pp", parallel.pp),),
            f"layers of {len(parallel.stages)} stages are given for pp {{pp}}", "as many as --pp, or as pp · virtual",
        )  # fmt: skip
