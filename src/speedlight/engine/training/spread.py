"""A training step on many devices: the step of one replica, priced kernel by kernel, laid over stages, shards and replicas.

A pipeline rank runs its share of every block for each micro-batch; the slowest rank's kernels are the rows of the answer, and
what it waits for the others (fill, drain, uneven stages) is the bubble. Weights' gradients are reduced behind the last
micro-batch's backward pass; with weights sharded (ZeRO-3, FSDP) every block gathers its weights ahead and scatters its
gradients behind, micro-batch by micro-batch. What of a message lies under computation costs nothing; the rest is exposed.

A stack says under ``attrs.overlap`` which messages run beside computation: ``gradients``, ``weights`` (gathering of
shards), ``stages`` (sends between pipeline ranks), ``context`` (keys and values going round), ``offload``, ``update`` (the
host's, behind the backward pass). With
``attrs.split_sends`` the tensor-parallel ranks, which all hold the same activations, send a share each and gather the whole behind
the network (arXiv 2104.04473 §4.1, "scatter/gather").

Legend: F, B seconds of one micro-batch through all instances of a block, N instances, m micro-batches, T a rank's step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..._foundation.arrays import Value, maximum, where
from ...costs.cost import largest
from ...hardware.machine import Machine
from ...lowering.shares import Held, Holdings
from ...placement.mesh import expert_replicas, expert_width, replicas, shard_ranks
from ...placement.stages import Deal, Shares
from ...schedule.families import FAMILIES, parse
from ...schedule.layouts import behind
from ...schedule.pipeline import PipelineRun, StageClass
from ...schedule.serial import Passage, Timeline
from ...stacks.transfers import transfers_of
from ..offload.states import outside
from ..questions.resolve import Plan, Resolved
from ..steps.evaluate import PricedKernel, StepResult, Wait
from . import residents
from .messages import message_of, packing_of
from .rows import chosen, costs_of, plain, some

# What stacks do that say nothing: PyTorch's DDP and FSDP, transfers to the host on a stream of their own.
OVERLAP = ("gradients", "weights", "context", "offload")
_WEIGHT = ("_wgrad", "bias_grad")
NOTHING = 0.0


def needed(resolved: Resolved) -> bool:
    """Whether a training step is more than one device's, or its memory is not one device's whole."""
    p, t = resolved.scenario.program.parallel, resolved.scenario.program.workload.training
    several = any(np.any(np.asarray(x) > 1) for x in (p.dp, p.pp, p.cp, t.virtual))
    return several or bool(np.any(np.asarray(p.zero) > 0)) or bool(t.offload) or t.recompute_layers is not None


def across(
    resolved: Resolved, made: Plan, cut: Deal, holdings: Holdings, result: StepResult, machine: Machine
) -> StepResult:
    """The step of the slowest rank.

    Args:
        made, cut, holdings: the plan, its blocks on pipeline ranks, what they hold.
        result: the step of a replica as one device would run it, every micro-batch.
        machine: where; the messages' links.
    """
    return _Spread(resolved, made, cut, holdings, result, machine).step()


@dataclasses.dataclass(frozen=True, slots=True)
class _Part:
    """A block in one micro-batch.

    Attributes:
        name, phase, kernels: as in a step's blocks, counts of the whole replica's step.
        count: instances in one micro-batch, N.
        compute: seconds of one instance, waiting for the host included; what is hidden is left out.
        weight: of them for gradients of weights.
        gap: seconds it waits for the host, all instances of a step.
        gather, scatter: one instance's messages over shards in one micro-batch.
        hosted: its transfers to and from the host.
    """

    name: str
    phase: str
    kernels: tuple[PricedKernel, ...]
    count: Value
    compute: Value
    weight: Value
    gap: Value
    gather: tuple[PricedKernel, ...] = ()
    scatter: tuple[PricedKernel, ...] = ()
    hosted: tuple[PricedKernel, ...] = ()


class _Spread:
    def __init__(
        self, resolved: Resolved, made: Plan, cut: Deal, holdings: Holdings, result: StepResult, machine: Machine
    ) -> None:
        program = resolved.scenario.program
        self.parallel, self.training = program.parallel, program.workload.training
        self.stack, self.point, self.machine = resolved.stack, resolved.scenario.point, machine
        self.graph, self.cut, self.holdings, self.result = made.graph, cut, holdings, result
        self.overlap = frozenset(self.stack.attrs.get("overlap", OVERLAP))
        self.micro = result.step.repeats
        self.wires = {sort: program.parallel.wire(sort) for sort in ("gradients", "weights", "stages")}
        self.mirrors: Mapping[str, str] = self.graph.attrs.get("mirrors", {})
        p = self.parallel
        copies = replicas(p), expert_replicas(p)
        self.copies = copies
        self.shards = shard_ranks(p, copies[0]), shard_ranks(p, copies[1])
        self.strides = p.tp, p.ep * expert_width(p)
        self.outside = outside(self.training, machine)

    # messages --------------------------------------------------------------------------------------------------------

    def _message(
        self, name: str, collective: str, axis: str, payload: Value, spans: Sequence[tuple[Value, Value]], count: Value,
        phase: str,
    ) -> PricedKernel:  # fmt: skip
        ranks: Value = 1.0
        for size, _ in spans:
            ranks = ranks * size
        present = where(np.asarray(ranks) > 1, 1.0, 0.0) * count
        return message_of(
            name, collective, (axis,), payload, spans, plain(present), machine=self.machine, point=self.point, stack=self.stack,
            phase=phase,
        )  # fmt: skip

    def _carried(
        self, name: str, collective: str, size: Value, spans: Sequence[tuple[Value, Value]], count: Value, phase: str
    ) -> list[PricedKernel]:
        """A message of gradients or weights as its wire has it, and what packs it."""
        wire = self.wires["weights" if collective == "all_gather" else "gradients"]
        payload = size * wire.share
        if wire.collective == "all_gather" and collective == "all_reduce":  # what ranks send does not add up
            collective = wire.collective
            for ranks, _ in spans:
                payload = payload * ranks
        count = count / wire.period
        row = self._message(name, collective, "dp", payload, spans, count, phase)
        if not np.any(np.asarray(wire.passes) > 0):
            return [row]
        packs = packing_of(
            f"{name}.pack", size * wire.passes, row.count, machine=self.machine, point=self.point, stack=self.stack, phase=phase
        )  # fmt: skip
        return [row, packs]

    def _over_shards(
        self, name: str, collective: str, sizes: tuple[Value, Value], count: Value, phase: str
    ) -> tuple[PricedKernel, ...]:
        """A message of dense weights (or gradients) over their shard ranks, and one of experts' over theirs."""
        made: list[PricedKernel] = []
        near = self.parallel.near if collective == "all_gather" and phase == "backward" else None
        for sort, size, ranks, stride in zip(("", ".experts"), sizes, self.shards, self.strides, strict=True):
            if np.any(np.asarray(size) > 0):
                close = ranks if near is None else -maximum(-near, -ranks)
                times = where(np.asarray(size) > 0, count, 0.0) if np.ndim(size) else count
                made += self._carried(name + sort, collective, size, ((close, stride),), times, phase)
        return tuple(made)

    def _between_shards(
        self, name: str, sizes: tuple[Value, Value], count: Value, phase: str
    ) -> tuple[PricedKernel, ...]:
        """Hybrid sharding: what a shard's ranks have reduced is reduced again over the groups of shards."""
        made: list[PricedKernel] = []
        for sort, size, copies, ranks, stride in zip(
            ("", ".experts"), sizes, self.copies, self.shards, self.strides, strict=True
        ):
            groups = copies / ranks
            if np.any(np.asarray(groups) > 1) and np.any(np.asarray(size) > 0):
                spans = ((groups, stride * ranks),)
                made += self._carried(name + sort, "all_reduce", size / ranks, spans, count, phase)
        return tuple(made)

    # blocks ----------------------------------------------------------------------------------------------------------

    def _parts(self) -> list[_Part]:
        zero = np.asarray(self.parallel.zero)
        sharded, scattered = plain(where(zero >= 3, 1.0, 0.0)), plain(where(zero >= 2, 1.0, 0.0))
        parts = []
        for (name, phase, kernels), passage in zip(self.result.blocks, self.result.timeline.passages, strict=True):
            if phase == "optimizer":
                parts.append(_Part(name, phase, kernels, passage.count, passage.device, 0.0, passage.gap))
                continue
            count = passage.count / self.micro
            kernels, hidden = self._under_attention(kernels, passage.count)
            each = passage.device - hidden + passage.gap / some(passage.count)
            weight: Value = 0.0
            for k in kernels:
                if k.kernel.fn.endswith(_WEIGHT):
                    weight = weight + k.cost.time * k.count / some(passage.count)
            held = self.holdings.blocks.get(self.mirrors.get(name, name))
            gather: tuple[PricedKernel, ...] = ()
            scatter: tuple[PricedKernel, ...] = ()
            if held is not None and np.any(sharded):
                gather = self._over_shards(f"{name}.gather_weights", "all_gather", held.weights, sharded, phase)
            if held is not None and np.any(scattered) and phase == "backward":
                scatter = (
                    *self._over_shards(f"{name}.reduce_gradients", "reduce_scatter", held.gradients, scattered, phase),
                    *self._between_shards(f"{name}.reduce_shards", held.gradients, scattered, phase),
                )
            hosted = () if held is None else self._hosted(name, phase, held)
            packs = [m for m in (*gather, *scatter) if m.kernel.message is None]
            gather, scatter = (tuple(m for m in found if m.kernel.message is not None) for found in (gather, scatter))
            for pack in packs:  # of one instance in one micro-batch
                kernels = (*kernels, dataclasses.replace(pack, count=pack.count * passage.count))
                each = each + pack.cost.time * pack.count
            parts.append(_Part(name, phase, kernels, count, each, weight, passage.gap, gather, scatter, hosted))
        return parts

    def _hosted(self, name: str, phase: str, held: Held) -> tuple[PricedKernel, ...]:
        """Transfers of one instance in one micro-batch."""
        way = self.outside
        if way is None:
            return ()
        made = []

        def move(cls: str, into: Value, out: Value) -> None:
            if cls in way.where:
                label = f"{name}.{'load' if out is NOTHING else 'store'}_{cls}"
                made.append(way.move(label, cls, into, out, 1.0, phase, self.machine, self.point))

        ahead = phase == "forward"
        again = residents.again_share(self.training, self.parallel, self.cut.layers)
        saved = again * held.saved + (1 - again) * held.saved_whole
        sizes = [self._shard(pair, stage) for pair, stage in ((held.weights, 3), (held.gradients, 2))]
        inner = 0 <= self.cut.positions[self.mirrors.get(name, name)][0] < self.cut.layers  # checkpoints are of layers
        move("weights", sizes[0], NOTHING)
        if inner:
            move("activations", *((NOTHING, saved) if ahead else (saved, NOTHING)))
        if not ahead:
            move("gradients", NOTHING, sizes[1])
        return tuple(made)

    def _shard(self, pair: tuple[Value, Value], stage: int) -> Value:
        """Bytes of a rank's part of dense and experts' tensors that ZeRO divides from this stage on."""
        zero = np.asarray(self.parallel.zero)
        total: Value = 0.0
        for size, ranks in zip(pair, self.shards, strict=True):
            total = total + size / where(zero >= stage, ranks, 1.0)
        return plain(total)

    def _under_attention(
        self, kernels: tuple[PricedKernel, ...], instances: Value
    ) -> tuple[tuple[PricedKernel, ...], Value]:
        """Keys and values that go round while attention computes: (kernels with what shows of them, seconds hidden an
        instance)."""
        if "context" not in self.overlap:
            return kernels, 0.0
        over: Value = 0.0
        sent: Value = 0.0
        for k in kernels:
            if k.kernel.family == "attention":
                over = over + k.cost.time * k.count
            elif k.kernel.message is not None and k.kernel.message.axis == ("cp",) and k.kernel.fn == "send_recv":
                sent = sent + k.cost.time * k.count
        if not np.any(sent):
            return kernels, 0.0
        bare = maximum(sent - over, 0.0)
        share = bare / some(sent)
        shown = tuple(
            dataclasses.replace(k, exposed=k.cost.time * k.count * share)
            if k.kernel.message is not None and k.kernel.message.axis == ("cp",) and k.kernel.fn == "send_recv"
            else k
            for k in kernels
        )
        return shown, (sent - bare) / some(instances)

    def _seconds(self, part: _Part) -> Value:
        """Seconds of one micro-batch through a block's instances with its messages over shards."""
        return part.count * (part.compute + self._bare(part))

    def _bare(self, part: _Part) -> Value:
        """What shows of an instance's messages over shards."""
        bare: Value = 0.0
        beside: Value = 0.0  # messages and transfers pass different links: the longer of them shows
        for found, word in (((*part.gather, *part.scatter), "weights"), (part.hosted, "offload")):
            sent: Value = 0.0
            for message in found:
                sent = sent + message.cost.time * message.count
            if word in self.overlap:
                beside = maximum(beside, sent)
            else:
                bare = bare + sent
        return bare + maximum(beside - part.compute, 0.0) if np.any(beside) else bare

    # the step --------------------------------------------------------------------------------------------------------

    def step(self) -> StepResult:
        parts = self._parts()
        seconds = {part.name: self._seconds(part) for part in parts if part.phase != "optimizer"}
        weight = {part.name: part.count * part.weight for part in parts}
        shares = self._slowest(seconds)
        run = self._run(seconds, weight)
        piped = run.step()
        rank: Value = 0.0
        for name, amount in seconds.items():
            rank = rank + self.micro * shares[name] * amount
        dealt = self._exchange()
        barriers: Value = 0.0
        for message in dealt:
            barriers = barriers + message.cost.time * message.count
        bubble = maximum(piped.time - piped.exposed_send - rank - barriers, 0.0)
        blocks, passages = self._rows(parts, shares)
        sends = self._sends(piped.exposed_send)
        tail = self._tail(parts, shares)
        dealt = [dataclasses.replace(row, exposed=row.cost.time * row.count) for row in dealt]
        extra = [*sends, *dealt, *tail, *self._updated(parts, shares)]
        blocks += [("messages", "backward", (row,)) for row in extra]
        passages += [Passage(0.0, 0.0, 0.0) for _ in extra]
        waits = (Wait("pipeline", "bubble", bubble),)
        total: Value = 0.0
        for passage in passages:
            total = total + passage.count * passage.device + passage.gap
        for row in extra:
            total = total + row.exposed
        total = total + bubble
        stretch = 1.0 + bubble / some(rank)
        costs = costs_of(blocks, stretch)
        least: dict[str, Value] = {}
        for cost, times in costs_of(blocks, None):
            for resource, busy in cost.least.items():
                least[resource] = least.get(resource, 0.0) + busy * times
        pp = self.parallel.pp
        ledger = residents.ledger(
            self.cut, self.holdings, self.parallel, self.training, self.micro, self.stack, self.machine.main.capacity_bytes,
            self.outside,
        )  # fmt: skip
        return dataclasses.replace(
            self.result, time=total, limit=largest(least), least=least, flops=self.result.flops / pp, dense=self.result.dense / pp,
            bytes=self.result.bytes / pp, again=self.result.again / pp, blocks=tuple(blocks), costs=costs,
            timeline=Timeline(total, tuple(passages)), ledger=ledger, waits=waits, run=run,
        )  # fmt: skip

    def _slowest(self, seconds: Mapping[str, Value]) -> Shares:
        """What the rank that computes longest holds."""
        ranks = list(self.cut.some_ranks())
        loads = []
        for _, row in ranks:
            load: Value = 0.0
            for name, amount in seconds.items():
                load = load + row[name] * amount
            loads.append(load)
        spread = np.stack(np.broadcast_arrays(*[np.asarray(x, dtype=float) for x in loads]))
        at = np.argmax(spread, axis=0)
        names = ranks[0][1].keys()
        return {name: chosen([row[name] for _, row in ranks], at) for name in names}

    def _run(self, seconds: Mapping[str, Value], weight: Mapping[str, Value]) -> PipelineRun:
        classes = []
        for count, row in self.cut.classes():
            forward: Value = 0.0
            backward: Value = 0.0
            later: Value = 0.0
            shared: Value = 0.0
            for message in self._exchange():
                shared = shared + message.cost.time * message.count / self.micro
            for name, amount in seconds.items():
                if self.cut.ends_dealt and self.cut.is_end(name):
                    shared = shared + row[name] * amount
                elif name in self.mirrors:
                    backward, later = backward + row[name] * (amount - weight[name]), later + row[name] * weight[name]
                else:
                    forward = forward + row[name] * amount
            classes.append(StageClass(count, forward, backward, later, shared))
        seconds_each: Value = 0.0
        for message in self._send():
            seconds_each = seconds_each + message.cost.time * message.count
        return PipelineRun(
            tuple(classes), self.micro, self.training.schedule, self.training.virtual, seconds_each,
            "stages" not in self.overlap,
        )  # fmt: skip

    def _exchange(self) -> list[PricedKernel]:
        """What ranks with a part of the vocabulary each tell one another for every micro-batch: the last layer's result to all, sums
        over the vocabulary (small), and the gradient of that result summed: the bytes of an all-reduce (arXiv 2411.05288 §4.1)."""
        p = self.parallel
        if not self.cut.ends_dealt or not np.any(np.asarray(p.pp) > 1):
            return []
        spans = ((p.pp, p.tp * p.cp * p.dp),)
        return [self._message("vocabulary.exchange", "all_reduce", "pp", self._handed(), spans, self.micro, "backward")]

    def _handed(self) -> Value:
        """Bytes of one micro-batch's activations between layers."""
        handed: Value = 0.0
        for name, held in self.holdings.blocks.items():
            if 0 <= self.cut.positions[name][0] < self.cut.layers:
                handed = maximum(handed, held.handed)
        return handed

    def _send(self) -> list[PricedKernel]:
        """One micro-batch's activations from a stage to the next."""
        p = self.parallel
        if not np.any(np.asarray(p.pp) > 1):
            return []
        handed = self._handed()
        stride = p.tp * p.cp * p.dp
        present = plain(where(np.asarray(p.pp) > 1, 1.0, 0.0))
        spans = ((where(np.asarray(p.pp) > 1, 2, 1), stride),)
        split = self.stack.attrs.get("split_sends", False)
        alike = plain(where(np.asarray(p.sp) == 1, 1.0, np.asarray(p.tp, dtype=float))) if split else 1.0
        wire = self.wires["stages"]
        sent = handed / alike * wire.share
        rows = [self._message("stages.send", "send_recv", "pp", sent, spans, present, "forward")]
        if np.any(np.asarray(wire.passes) > 0):
            rows.append(
                packing_of(
                    "stages.pack", handed * wire.passes, present, machine=self.machine, point=self.point, stack=self.stack, phase="forward",
                )
            )  # fmt: skip
        if np.any(np.asarray(alike) > 1):
            rows.append(self._message("stages.gather", "all_gather", "tp", handed, ((alike, 1),), present, "forward"))
        return rows

    def _sends(self, exposed: Value) -> list[PricedKernel]:
        rows = self._send()
        sent: Value = 0.0
        for row in rows:
            sent = sent + row.cost.time * row.count
        times = 2 * self.micro * self.training.virtual
        return [
            dataclasses.replace(row, count=row.count * times, exposed=exposed * row.cost.time * row.count / some(sent))
            for row in rows
        ]

    def _rows(self, parts: Sequence[_Part], shares: Shares) -> tuple[list[Any], list[Passage]]:
        """The rank's blocks and passages, messages over shards among them."""
        blocks: list[Any] = []
        passages: list[Passage] = []
        for part in parts:
            if part.phase == "optimizer":
                if self.outside is None or "optimizer" not in self.outside.where:
                    blocks.append((part.name, part.phase, part.kernels))
                    passages.append(Passage(part.count, part.compute, part.gap))
                continue
            share = shares[part.name]
            times = self.micro * part.count * share
            rows = [
                dataclasses.replace(k, count=k.count * share, exposed=None if k.exposed is None else k.exposed * share)
                for k in part.kernels
            ]
            bare = self._bare(part)
            sent: Value = 0.0
            for message in (*part.gather, *part.scatter, *part.hosted):
                sent = sent + message.cost.time * message.count
            for message in (*part.gather, *part.scatter, *part.hosted):
                mine = message.cost.time * message.count / some(sent) * bare
                rows.append(dataclasses.replace(message, count=message.count * times, exposed=mine * times))
            blocks.append((part.name, part.phase, tuple(rows)))
            device = part.compute - part.gap / some(self.micro * part.count) + bare
            passages.append(Passage(times, device, part.gap * share))
        return blocks, passages

    def _tail(self, parts: Sequence[_Part], shares: Shares) -> list[PricedKernel]:
        """Gradients summed over the copies of the weights once a step, and new weights handed round (ZeRO-1 and 2)."""
        zero = np.asarray(self.parallel.zero)
        once = plain(where(zero < 2, 1.0, 0.0))
        whole = plain(where(zero == 0, 1.0, 0.0))
        rows: list[PricedKernel] = []
        line: list[tuple[Value, Value, Value]] = []
        shared = self._shared_bytes(shares)
        last = [part for part in parts if part.phase == "backward"][-1].name
        computed: Value = 0.0
        for part in parts:
            if part.phase != "backward":
                continue
            held = self.holdings.blocks[self.mirrors[part.name]]
            made = (*self._reduced(part.name, held.gradients, once, whole), *self._mirrored(part.name, held.gradients))
            count = part.count * shares[part.name]
            each: Value = 0.0
            for message in made:
                each = each + (message.cost.time * message.count if message.kernel.message is not None else 0.0)
                rows.append(dataclasses.replace(message, count=message.count * count))
            compute = part.compute + self._bare(part)
            line.append((count, compute, each))
            computed = computed + count * compute
            if part.name == last:
                for message in (*self._reduced("shared", shared[0], once, whole), *self._mirrored("shared", shared[0])):
                    if message.kernel.message is not None:
                        line.append((1.0, 0.0, message.cost.time * message.count))
                    rows.append(message)
        packs = [row for row in rows if row.kernel.message is None]
        rows = [row for row in rows if row.kernel.message is not None]
        sent: Value = 0.0
        for row in rows:
            sent = sent + row.cost.time * row.count
        wire = self.wires["gradients"]
        if wire.lag:  # beneath all computing until they are used, of every step between two of them
            bare = maximum(sent - wire.lag * self._computing(parts, shares), 0.0)
        elif "gradients" in self.overlap and not np.any(np.asarray(wire.period) > 1):
            bare = maximum(behind(line) - computed, 0.0)
        elif "gradients" in self.overlap:  # what is sent once in a while is the weights, after the last step
            bare = where(np.asarray(wire.period) > 1, sent, maximum(behind(line) - computed, 0.0))
        else:
            bare = sent
        share = bare / some(sent)
        rows = [dataclasses.replace(row, exposed=row.cost.time * row.count * share) for row in rows]
        rows += [dataclasses.replace(row, exposed=row.cost.time * row.count) for row in packs]
        return [*rows, *self._handed_round(parts, shares, shared[1]), *self._tied(shares)]

    def _computing(self, parts: Sequence[_Part], shares: Shares) -> Value:
        """Seconds the rank computes in a step, all micro-batches."""
        over: Value = 0.0
        for part in parts:
            if part.phase != "optimizer":
                over = over + self.micro * part.count * shares[part.name] * part.compute
        return over

    def _updated(self, parts: Sequence[_Part], shares: Shares) -> list[PricedKernel]:
        """The host's update: gradients out behind the last backward pass, the update, weights back."""
        way = self.outside
        if way is None or "optimizer" not in way.where:
            return []
        sums: list[list[Value]] = [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
        keys = ("weights", "gradients", "parameters")
        for name, held in self.holdings.blocks.items():
            count = self.holdings.counts[name] * shares[name]
            for row, key in zip(sums, keys, strict=True):
                for i in (0, 1):
                    row[i] = row[i] + count * getattr(held, key)[i]
        for users, held in self.holdings.shared:
            for row, key in zip(sums, keys, strict=True):
                for i in (0, 1):
                    row[i] = row[i] + self.cut.holds(users, shares) * getattr(held, key)[i]
        weights, gradients = (self._shard((row[0], row[1]), 1) for row in sums[:2])
        states = self._shard((sums[2][0] * self.holdings.states[0], sums[2][1] * self.holdings.states[1]), 1)
        here = self.training.update_here
        pace = transfers_of(self.stack.attrs).update
        rows = [way.update(states, weights + gradients, self.machine, self.point, here, pace)]
        weights, gradients = weights * (1 - here), gradients * (1 - here)  # what crosses for the host's part
        if "weights" not in way.where:
            rows.append(
                way.move(
                    "optimizer.load_weights", "optimizer", weights, 0.0, 1.0, "optimizer", self.machine, self.point
                )
            )
        over: Value = 0.0
        for part in parts:
            if part.phase == "backward":
                over = over + part.count * shares[part.name] * part.compute
        cover = over if "update" in self.overlap else 0.0  # layer by layer, as gradients arrive
        rows = [
            dataclasses.replace(row, exposed=maximum(row.cost.time * row.count - cover, 0.0)) for row in rows[:1]
        ] + [dataclasses.replace(row, exposed=row.cost.time * row.count) for row in rows[1:]]
        if "gradients" not in way.where:
            out = way.move(
                "optimizer.store_gradients", "optimizer", 0.0, gradients, 1.0, "backward", self.machine, self.point
            )
            bare = maximum(out.cost.time - over, 0.0) if "offload" in self.overlap else out.cost.time
            rows.append(dataclasses.replace(out, exposed=bare))
        return rows

    def _reduced(self, name: str, sizes: tuple[Value, Value], once: Value, whole: Value) -> tuple[PricedKernel, ...]:
        made: list[PricedKernel] = []
        if np.any(once * whole):
            for sort, size, ranks, stride in zip(("", ".experts"), sizes, self.copies, self.strides, strict=True):
                if np.any(np.asarray(size) > 0):
                    label, spans = f"{name}.reduce_gradients{sort}", ((ranks, stride),)
                    made += self._carried(label, "all_reduce", size, spans, once * whole, "backward")
        part = once * (1.0 - whole)
        if np.any(part):
            made += self._over_shards(f"{name}.reduce_gradients", "reduce_scatter", sizes, part, "backward")
            made += self._between_shards(f"{name}.reduce_shards", sizes, part, "backward")
        return tuple(made)

    def _mirrored(self, name: str, sizes: tuple[Value, Value]) -> tuple[PricedKernel, ...]:
        """A schedule that runs both ways holds every stage twice, on ranks r and p − 1 − r, which sum their gradients (arXiv
        2107.06925 §3.2); the pair farthest apart is priced."""
        p = self.parallel
        if FAMILIES[parse(self.training.schedule)[0]].copies == 1 or not np.any(np.asarray(p.pp) > 1):
            return ()
        pair = plain(where(np.asarray(p.pp) > 1, 2.0, 1.0))
        spans = ((pair, p.tp * p.cp * p.dp * maximum(p.pp - 1, 1)),)
        size = sizes[0] + sizes[1]
        return (self._message(f"{name}.reduce_copies", "all_reduce", "pp", size, spans, 1.0, "backward"),)

    def _shared_bytes(self, shares: Shares) -> tuple[tuple[Value, Value], tuple[Value, Value]]:
        """Bytes of gradients and weights of shared tensors on the rank, dense and experts'."""
        gradients: list[Value] = [0.0, 0.0]
        weights: list[Value] = [0.0, 0.0]
        for users, held in self.holdings.shared:
            here = self.cut.holds(users, shares)
            for i in (0, 1):
                gradients[i] = gradients[i] + here * held.gradients[i]
                weights[i] = weights[i] + here * held.weights[i]
        return (gradients[0], gradients[1]), (weights[0], weights[1])

    def _handed_round(self, parts: Sequence[_Part], shares: Shares, shared: tuple[Value, Value]) -> list[PricedKernel]:
        """New weights gathered from the ranks that updated them; beside the next forward pass where the stack does so."""
        zero = np.asarray(self.parallel.zero)
        after = plain(where((zero == 1) | (zero == 2), 1.0, 0.0))
        if not np.any(after):
            return []
        rows: list[PricedKernel] = []
        over: Value = 0.0
        first: Value = 0.0
        for part in parts:
            if part.phase != "forward":
                continue
            count = part.count * shares[part.name]
            over = over + count * part.compute
            made = self._over_shards(
                f"{part.name}.gather_weights", "all_gather", self.holdings.blocks[part.name].weights, after, "optimizer"
            )
            for message in made:
                first = maximum(first, message.cost.time * message.count * where(np.asarray(count) > 0, 1.0, 0.0))
                rows.append(dataclasses.replace(message, count=message.count * count))
        rows += self._over_shards("shared.gather_weights", "all_gather", shared, after, "optimizer")
        sent: Value = 0.0
        for row in rows:
            sent = sent + row.cost.time * row.count
        bare = (
            maximum(sent - over, first)
            if "weights" in self.overlap and self.stack.attrs.get("gather_ahead", False)
            else sent
        )
        share = bare / some(sent)
        return [dataclasses.replace(row, exposed=row.cost.time * row.count * share) for row in rows]

    def _tied(self, shares: Shares) -> list[PricedKernel]:
        """A table that the first and the last stage both hold: they sum its gradients (Megatron-LM's embedding group)."""
        p = self.parallel
        size: Value = 0.0
        if self.cut.folded or self.cut.ends_dealt:  # both ends lie on one rank, or every rank has its part of both
            return []
        first = self.cut.piece(0)
        for users, held in self.holdings.shared:
            both = [u for u in users if u in first]
            apart = plain(where(np.asarray(p.pp) > 1, 1.0, 0.0)) if len(both) > 1 else 0.0
            size = size + apart * (held.gradients[0] + held.gradients[1])
        if not np.any(size):
            return []
        stride = p.tp * p.cp * p.dp * maximum(p.pp - 1, 1)
        ranks = plain(where(np.asarray(p.pp) > 1, 2.0, 1.0))
        row = self._message("tied.reduce_gradients", "all_reduce", "pp", size, ((ranks, stride),), 1.0, "backward")
        return [dataclasses.replace(row, exposed=row.cost.time * row.count)]
