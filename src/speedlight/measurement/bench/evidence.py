"""The evidence file: what was measured here, every sample kept, written after each point so that a break loses one point.

JSON with ``"sort": "evidence"``; a resumed measurement reads it back and goes on. What it holds is trusted no more than any
other file: fields are checked when it is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from ..._foundation.errors import BadFile, BadInput
from ..._foundation.files import read_text, write_atomically
from ..._foundation.version import VERSION
from .timing import Timed

SCHEMA = 1
MAX_BYTES = 256 * 2**20


class Measurement(msgspec.Struct, frozen=True):
    """One measured point; seconds of one run, what moved in bytes where it is known.

    ``samples`` are means over ``runs`` runs in a row; ``low`` and ``high`` the median's 95 % interval. ``alone``: the device ran
    without the host (a graph's replays).
    """

    name: str
    sort: str
    op: str
    sizes: dict[str, int | float | str]
    median: float
    low: float
    high: float
    samples: list[float]
    runs: int
    moved: float = 0.0
    moment: dict[str, float] = {}
    warning: str = ""
    alone: bool = False


class _File(msgspec.Struct, frozen=True):
    schema: int
    sort: str
    machine: dict[str, Any]
    context: dict[str, Any]
    points: list[Measurement] = []
    failed: dict[str, str] = {}
    speedlight: str = ""
    complete: bool = False


@dataclass(frozen=True)
class Evidence:
    """Measurements of one machine.

    Attributes:
        machine: what the operating system says of it (id, name, processors …).
        context: versions, date, device.
        failed: by point, why it could not be measured.
        complete: whether nothing was left to measure.
    """

    machine: Mapping[str, Any]
    context: Mapping[str, Any]
    points: tuple[Measurement, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    complete: bool = False

    def of(self, sort: str, op: str = "") -> tuple[Measurement, ...]:
        return tuple(p for p in self.points if p.sort == sort and (not op or p.op == op))

    def point(self, name: str) -> Measurement:
        """The point of that name."""
        return next(p for p in self.points if p.name == name)

    def with_point(self, point: Measurement) -> Evidence:
        """The same with one of its points measured anew."""
        return replace(self, points=tuple(point if p.name == point.name else p for p in self.points))

    def done(self) -> set[str]:
        return {p.name for p in self.points} | set(self.failed)


def measurement(name: str, sort: str, op: str, sizes: Mapping[str, Any], timed: Timed, **more: Any) -> Measurement:
    return Measurement(
        name, sort, op, dict(sizes), timed.median, timed.low, timed.high, [float(f"{s:.4g}") for s in timed.samples],
        timed.runs, **more,
    )  # fmt: skip


def write(path: Path, evidence: Evidence) -> None:
    """Write a whole file or none."""
    data = _File(
        SCHEMA, "evidence", dict(evidence.machine), dict(evidence.context), list(evidence.points), dict(evidence.failed),
        VERSION, evidence.complete,
    )  # fmt: skip
    write_atomically(path, msgspec.json.format(msgspec.json.encode(data), indent=1).decode() + "\n")


def read(path: Path) -> Evidence:
    """The measurements of a file.

    Raises:
        BadFile: for what is no such file, or holds figures that make no sense.
    """
    text = read_text(path, "evidence", MAX_BYTES)
    try:
        data = msgspec.json.decode(text.encode(), type=_File)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadFile(f"{path}: {error}", expected="a file that `speedlight measure` wrote") from None
    if data.sort != "evidence" or data.schema != SCHEMA:
        raise BadFile(f"{path} is a {data.sort!r} of schema {data.schema}", expected=f"evidence of schema {SCHEMA}")
    for point in data.points:
        if not 0 < point.low <= point.median <= point.high < 1e6 or point.moved < 0:
            raise BadFile(f"{path}: {point.name[:80]} took {point.median} s", expected="positive seconds")
    return Evidence(data.machine, data.context, tuple(data.points), data.failed, data.complete)


def resumed(path: Path, machine: Mapping[str, Any], context: Mapping[str, Any]) -> Evidence:
    """What a file holds already, to go on with; nothing where there is none.

    Raises:
        BadInput: where the file is of another machine, device or PyTorch.
    """
    if not path.exists():
        return Evidence(machine, context)
    found = read(path)
    for what, mine, theirs in (
        ("machine", machine.get("name"), found.machine.get("name")),
        ("device", context.get("device"), found.context.get("device")),
        ("versions", context.get("versions"), found.context.get("versions")),
    ):
        if mine != theirs:
            raise BadInput(
                f"{path} was measured with another {what}: {json.dumps(theirs)[:120]}", expected=json.dumps(mine)[:120],
                hint="write to another file, or remove it",
            )  # fmt: skip
    return found
