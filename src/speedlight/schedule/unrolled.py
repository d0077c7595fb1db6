"""The serial timeline, kernel by kernel: what :func:`speedlight.schedule.serial.serial` folds into closed forms, drawn out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .serial import NOISE
from .trace import Flow, Span, Trace, Track

DEVICE, HOST = 0, 1
MOST = 20_000  # kernels drawn one by one; a block that would pass it becomes one span


@dataclass(frozen=True, slots=True)
class Line:
    """A kernel of a block, as the timeline sees it.

    Attributes:
        device: seconds on the device, all starts in one instance of the block together.
        host: seconds to issue them.
    """

    name: str
    kind: str
    device: float
    host: float
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A block: so many instances of its kernels, one after another."""

    name: str
    count: float
    lines: tuple[Line, ...]


class Unrolled:
    """Spans of blocks run one after another, appended step by step: host and device move on from where they are.

    ``at`` is when the device is done.
    """

    def __init__(self, device: str, *, most: int = MOST) -> None:
        self.tracks = (Track(device, "kernels"), Track(device, "host issues"))
        self.at = self._host = 0.0
        self._spans: list[Span] = []
        self._before: list[int] = []  # of each span the one that let it start, or −1
        self._flows: list[Flow] = []
        self._last = self._issued = -1
        self._left = most
        self._notes: list[str] = []

    def wait(self, name: str, seconds: float, kind: str = "wait") -> None:
        """Something before the host issues anything further."""
        if seconds > 0:
            self._issued = self._put(HOST, name, self._host, self._host + seconds, kind, self._issued, {})
            self._host += seconds

    def step(self, stretches: Sequence[Stretch], start_s: float = 0.0, *, inline: bool = False) -> None:
        """One step: the host starts when the device has ended the step before."""
        if self._host < self.at:
            self._host, self._issued = self.at, self._last
        self.wait("before the step", start_s, "issue")
        for stretch in stretches:
            self._stretch(stretch, inline)

    def summary(self, name: str, seconds: float, kind: str, facts: Mapping[str, Any] | None = None) -> None:
        """One span for what is not drawn: the device is busy with it from where it is."""
        self._last = self._put(DEVICE, name, self.at, self.at + seconds, kind, self._last, facts or {})
        self.at += seconds
        self._host, self._issued = max(self._host, self.at), self._last

    def trace(self) -> Trace:
        """Everything so far."""
        on_path: set[int] = set()
        at = self._last
        while at >= 0:
            on_path.add(at)
            at = self._before[at]
        spans = tuple(
            Span(s.track, s.name, s.start, s.end, s.kind, i in on_path, s.facts) for i, s in enumerate(self._spans)
        )
        return Trace(self.at, self.tracks, spans, tuple(self._flows), tuple(self._notes))

    def _put(
        self, track: int, name: str, start: float, end: float, kind: str, before: int, facts: Mapping[str, Any]
    ) -> int:
        self._spans.append(Span(track, name, start, end, kind, False, facts))
        self._before.append(before)
        return len(self._spans) - 1

    def _stretch(self, stretch: Stretch, inline: bool) -> None:
        whole = int(stretch.count)
        rest = stretch.count - whole
        starts = whole * len(stretch.lines)
        if not stretch.lines or stretch.count <= 0:
            return
        if starts > self._left or rest > NOISE:  # a share of an instance is no kernel one could draw
            self._fold(stretch, inline)
            return
        self._left -= starts
        for number in range(whole):
            of = (
                {"instance": f"{number + 1} of {whole}", "block": stretch.name}
                if whole > 1
                else {"block": stretch.name}
            )
            for line in stretch.lines:
                self._kernel(line, inline, of)

    def _kernel(self, line: Line, inline: bool, of: Mapping[str, Any]) -> None:
        if inline and self._host < self.at:  # the host computes the kernels itself
            self._host, self._issued = self.at, self._last
        issued = -1
        if line.host > 0:
            issued = self._put(HOST, line.name, self._host, self._host + line.host, "issue", self._issued, {})
            self._issued = issued
            self._host += line.host
        waits = self._host > self.at * (1 + NOISE) if self._last >= 0 else self._host > 0
        start = self._host if waits else self.at
        before = self._issued if waits else self._last
        self._last = self._put(DEVICE, line.name, start, start + line.device, line.kind, before, {**line.facts, **of})
        self.at = start + line.device
        if issued >= 0:
            self._flows.append(Flow("launch", issued, self._last))

    def _fold(self, stretch: Stretch, inline: bool) -> None:
        """All instances as one span, which ends when the closed form of :mod:`.serial` says."""
        device, issue = (sum(getattr(line, name) for line in stretch.lines) for name in ("device", "host"))
        count, longest, before, after = stretch.count, 0.0, 0.0, device
        for line in stretch.lines:
            before += line.host
            longest = max(longest, before + after)
            after -= line.device
        start = self.at
        if inline:
            self.at = self._host = max(start, self._host) + count * (issue + device)
        else:
            self.at = max(start + count * device, self._host + longest + (count - 1) * max(issue, device))
        name = f"{stretch.name} × {count:g}"
        facts = {"kernels": len(stretch.lines), "instances": count}
        self._last = self._put(DEVICE, name, start, self.at, "folded", self._last, facts)
        if inline:
            self._issued = self._last
        elif issue > 0:
            self._issued = self._put(HOST, name, self._host, self._host + count * issue, "issue", self._issued, facts)
            self._host += count * issue
        self._notes.append(f"{name}: {len(stretch.lines)} kernels an instance, drawn as one span")
