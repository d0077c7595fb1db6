"""A pipeline's step drawn pass by pass: tracks of every rank and of its links, messages as flows, the critical chain."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from .families import FAMILIES, passes_of
from .orders import KINDS, Ints
from .passes import Floats, Passes
from .passes import run as walk
from .pipeline import PipelineRun, layouts_of
from .solve import table_of
from .trace import Flow, Span, Trace, Track

MOST = 200_000  # spans drawn; beyond it ranks alike are drawn once


def pipeline_trace(run: PipelineRun, *, most: int = MOST) -> Trace:
    """What every rank does when, of a run without arrays.

    Where there would be more than ``most`` spans, only ranks beside one of another class are drawn (first, second, last but one,
    last) with the critical chain on a track of its own, and a note says so. Where a schedule does not flush, ranks end one
    after another and a step takes as long as one rank works: the chain is then the rank that works longest, waits included.

    Raises:
        As :func:`.pipeline.pipeline_step`.
    """
    name, layouts, _ = layouts_of(run.classes, run.micro_batches, run.schedule, run.virtual, run.send_s)
    if layouts.send.size != 1:
        raise ValueError("one pipeline at a time")
    of_stage = np.repeat(np.arange(len(layouts.counts)), layouts.counts[:, 0].astype(int))
    sizes = [int(x[0]) for x in (layouts.ranks, layouts.micro_batches, layouts.virtual)]
    tried = []
    for which in range(1 + len(FAMILIES[name].others)):
        passes = passes_of(name, *sizes, which)
        table = table_of(passes, layouts, of_stage)
        tried.append((passes, *walk(passes, table, layouts.send, blocking=run.blocking)))
    passes, end, arrived = min(tried, key=lambda x: float(x[1].max()))
    send = 0.0 if run.blocking else float(layouts.send[0])
    return _Picture(passes, end[:, 0], arrived[:, 0], send).trace(name, of_stage, most)


class _Picture:
    """Passes with their times, on the way to a trace."""

    def __init__(self, passes: Passes, end: Floats, arrived: Floats, send: float) -> None:
        self.passes, self.end, self.arrived, self.send = passes, end, arrived, send
        free = np.append(end, 0.0)[passes.before]
        there = np.append(arrived, 0.0)[passes.needs]
        self.start = np.maximum(free, there)
        self.waited = there > free  # for its input, not for its rank

    def trace(self, name: str, of_stage: Ints, most: int) -> Trace:
        order, none = self.passes.order, self.passes.size
        ranks = self._shown(of_stage, most)
        whole = len(ranks) == order.ranks
        flushes = FAMILIES[name].flushes
        chain, messages = self._critical() if flushes else (self._longest(), [])
        tracks: list[Track] = []
        compute, links = {}, {}
        for rank in ranks:
            group = f"rank {rank}"
            compute[rank] = len(tracks)
            tracks.append(Track(group, "compute"))
            for target in self._targets(rank):
                links[rank, target] = len(tracks)
                tracks.append(Track(group, f"link to rank {target}"))
        spans: list[Span] = []
        drawn: dict[int, int] = {}
        marked = set(chain) if whole else set()
        for n in np.flatnonzero(np.isin(order.rank, ranks)).tolist():
            drawn[n] = len(spans)
            spans.append(self._pass(n, compute[int(order.rank[n])], n in marked))
        flows: list[Flow] = []
        marked = set(messages) if whole else set()
        needs = self.passes.needs
        crossing = (needs < none) & (np.append(self.passes.sends, 0.0)[needs] > 0)
        for n in np.flatnonzero(crossing & np.isin(np.append(order.rank, -1)[needs], ranks)).tolist():
            source = int(needs[n])
            link = links.get((int(order.rank[source]), int(order.rank[n])))
            if link is not None:
                flows.append(Flow("send", drawn[source], len(spans)))
                if n in drawn:
                    flows.append(Flow("receive", len(spans), drawn[n]))
                spans.append(self._message(source, n, link, source in marked))
            elif n in drawn:
                flows.append(Flow("send", drawn[source], drawn[n]))
        notes = [name]
        if not whole:
            notes.append(f"{len(ranks)} of {order.ranks} ranks are drawn: those beside a rank of another class")
            tracks.append(Track("critical chain", "whatever the step waits for"))
            receiver = {int(source): n for n, source in enumerate(needs.tolist())}
            spans += [self._pass(n, len(tracks) - 1, True, f"rank {order.rank[n]} ") for n in chain]
            spans += [self._message(n, receiver[n], len(tracks) - 1, True) for n in messages]
        time = float(self.end.max())
        if not flushes:
            time = float(self.end[chain[-1]] - self.start[chain[0]])
            rank = int(order.rank[chain[0]])
            track = compute[rank] if whole else len(tracks) - 1
            for a, b in pairwise(chain):
                if self.start[b] > self.end[a]:
                    spans.append(Span(track, "wait", float(self.end[a]), float(self.start[b]), "wait", True))
            notes.append(f"ranks end one after another; a step takes as long as rank {rank} works")
        return Trace(time, tuple(tracks), tuple(spans), tuple(flows), tuple(notes))

    def _longest(self) -> list[int]:
        """Passes of the rank that takes longest from its first to its last, in order."""
        first, last = self.passes.first, self.passes.last
        rank = int(np.argmax(self.end[last] - self.start[first]))
        mine = np.flatnonzero(self.passes.order.rank == rank)
        return [int(n) for n in mine[np.argsort(self.start[mine], kind="stable")]]

    def _pass(self, n: int, track: int, critical: bool, where: str = "") -> Span:
        order = self.passes.order
        kind, micro, stage = KINDS[order.kind[n]], int(order.micro[n]), int(order.stage[n])
        label = f"{where}{kind[0].upper()}{micro}" + (f".{stage}" if order.stages > order.ranks else "")
        facts = {"micro_batch": micro, "stage": stage}
        return Span(track, label, float(self.start[n]), float(self.end[n]), kind, critical, facts)

    def _message(self, source: int, receiver: int, track: int, critical: bool) -> Span:
        order = self.passes.order
        kind, at = KINDS[order.kind[source]], float(self.arrived[source])
        facts = {"from": f"rank {order.rank[source]}", "to": f"rank {order.rank[receiver]}"}
        label = f"send {kind[0].upper()}{order.micro[source]}"
        return Span(track, label, at - self.send, at, "send", critical, facts)

    def _targets(self, rank: int) -> list[int]:
        """Ranks this one sends to over a link that takes time."""
        if not self.send:
            return []
        needs, order = self.passes.needs, self.passes.order
        crossing = (needs < self.passes.size) & (np.append(self.passes.sends, 0.0)[needs] > 0)
        mine = crossing & (np.append(order.rank, -1)[needs] == rank)
        return [int(target) for target in np.unique(order.rank[mine])]

    def _shown(self, of_stage: Ints, most: int) -> list[int]:
        """Ranks drawn: all, or those whose neighbour is of another class."""
        order = self.passes.order
        ranks = order.ranks
        if self.passes.size * (2 if self.send else 1) <= most:
            return list(range(ranks))
        mine = [tuple(of_stage[order.holder[0] == rank]) for rank in range(ranks)]
        inner = [r for r in range(1, ranks - 1) if mine[r] != mine[r - 1] or mine[r] != mine[r + 1]]
        return sorted({0, *inner, ranks - 1})

    def _critical(self) -> tuple[list[int], list[int]]:
        """(passes on a longest chain, passes whose message is on it), from the last pass back to a start at 0.

        A message that waited for the one before it on its link was let go by that one.
        """
        chain: list[int] = []
        messages: list[int] = []
        none = self.passes.size
        at = int(np.argmax(self.end))
        while at < none:
            chain.append(at)
            if not self.waited[at]:
                at = int(self.passes.before[at])
                continue
            at = int(self.passes.needs[at])
            if not self.send or not self.passes.sends[at]:
                continue
            while True:
                messages.append(at)
                line = int(self.passes.line[at])
                if line == none or self.arrived[line] <= self.end[at]:
                    break
                at = line
        return chain, messages
