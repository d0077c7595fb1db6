"""A recorded trace as columns: what ran when, on which track, called by whom.

Profilers write millions of events; a trace keeps some fifty bytes of each. Times are seconds since the trace's first event.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# What an event is. Host: an operator, an annotation of the program, a call of the device's runtime, a Python function.
# Device: a kernel, a copy, a fill. The order is the code stored in ``Trace.kind``.
KINDS = ("op", "annotation", "runtime", "python", "kernel", "memcpy", "memset", "other")
CODE = {name: number for number, name in enumerate(KINDS)}
DEVICE = ("kernel", "memcpy", "memset")

MAX_EVENTS = 50_000_000  # 3 GB of columns


@dataclass(frozen=True, slots=True)
class Track:
    """A line of the trace: a thread of the host or a stream of a device."""

    process: str
    thread: str
    label: str = ""


@dataclass(frozen=True)
class Trace:
    """Events in order of their start.

    Attributes:
        start, end: seconds since the first event, shape (events,).
        kind: index in :data:`KINDS`.
        name: index in ``names``.
        track: index in ``tracks``.
        link: number that ties a device's event to the call that launched it, and a backward pass's operator to the forward
            pass's; −1 without.
        outer: number that ties a device's event to the operator it belongs to; −1 without.
        shape: index in ``shapes``; −1 without.
        moved: bytes of a copy; NaN where not stated.
        shapes: what operators were called on, as JSON: dimensions, types, concrete arguments.
        rank, world: of a process group; None where the trace names none.
        source: where it came from, in words.
    """

    start: Floats
    end: Floats
    kind: npt.NDArray[np.int8]
    name: npt.NDArray[np.int32]
    track: npt.NDArray[np.int32]
    link: Ints
    outer: Ints
    shape: npt.NDArray[np.int32]
    moved: Floats
    names: tuple[str, ...]
    tracks: tuple[Track, ...]
    shapes: tuple[str, ...]
    rank: int | None = None
    world: int | None = None
    source: str = ""

    def __len__(self) -> int:
        return int(self.start.size)

    @property
    def duration(self) -> Floats:
        return self.end - self.start

    def of(self, kinds: Iterable[str]) -> npt.NDArray[np.bool_]:
        """Mask of the events of some kinds."""
        return np.isin(self.kind, [CODE[k] for k in kinds])

    def named(self, test: Sequence[bool]) -> npt.NDArray[np.bool_]:
        """Mask of the events whose name passes, given one answer for each of ``names``."""
        return np.asarray(test, dtype=bool)[self.name] if self.names else np.zeros(len(self), dtype=bool)


class Columns:
    """Grows a :class:`Trace`, event by event; the one mutable thing of this package."""

    def __init__(self) -> None:
        self.start, self.end, self.moved = array("d"), array("d"), array("d")
        self.kind, self.name, self.track, self.shape = array("b"), array("i"), array("i"), array("i")
        self.link, self.outer = array("q"), array("q")
        self._names: dict[str, int] = {}
        self._tracks: dict[tuple[str, str], int] = {}
        self._labels: dict[tuple[str, str], str] = {}
        self._shapes: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.start)

    def add(
        self, kind: str, name: str, process: str, thread: str, start: float, end: float, *, link: int = -1,
        outer: int = -1, shape: str = "", moved: float = float("nan"),
    ) -> None:  # fmt: skip
        self.kind.append(CODE[kind])
        self.name.append(self._names.setdefault(name, len(self._names)))
        self.track.append(self._tracks.setdefault((process, thread), len(self._tracks)))
        self.start.append(start)
        self.end.append(end)
        self.link.append(link)
        self.outer.append(outer)
        self.shape.append(self._shapes.setdefault(shape, len(self._shapes)) if shape else -1)
        self.moved.append(moved)

    def label(self, process: str, thread: str, text: str) -> None:
        self._labels[process, thread] = text

    def trace(self, unit_s: float, rank: int | None = None, world: int | None = None, source: str = "") -> Trace:
        """The columns as a trace.

        Args:
            unit_s: seconds in one unit of the recorded times.
        """
        start = np.frombuffer(self.start, dtype=np.float64)
        order = np.argsort(start, kind="stable")
        first = float(start[order[0]]) if order.size else 0.0
        end = np.frombuffer(self.end, dtype=np.float64)

        def column(values: array, dtype: type) -> npt.NDArray:  # type: ignore[type-arg]
            return np.frombuffer(values, dtype=dtype)[order] if order.size else np.zeros(0, dtype)

        return Trace(
            (start[order] - first) * unit_s, (end[order] - first) * unit_s, column(self.kind, np.int8),
            column(self.name, np.int32), column(self.track, np.int32), column(self.link, np.int64),
            column(self.outer, np.int64), column(self.shape, np.int32), column(self.moved, np.float64),
            tuple(self._names), tuple(Track(p, t, self._labels.get((p, t), "")) for p, t in self._tracks),
            tuple(self._shapes), rank, world, source,
        )  # fmt: skip
