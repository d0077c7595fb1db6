"""A network cut between machines of their own: where it can be cut, what crosses there, and the scenario of a cut.

The first machine runs the ops in front of the first cut, the next those up to the second, and so on; what crosses a cut is sent over
the link between its machines. A cut lies between kernels: a tensor that a stack keeps inside one exists nowhere to be sent. Cut at
the very beginning, a machine does nothing and the inputs cross; at the very end, the results do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..._foundation.arrays import Value
from ..._foundation.errors import BadInput, Unsupported
from ..._foundation.expr import Expr, compile_tape
from ..._foundation.quantity import parse_quantity
from ...graph.crossing import Crossings, Place, crossings, numbered, numbers_of
from ...graph.ir import Graph
from ...lowering.prepare import as_written
from ...scenario.scenario import Edge, Parallel, Program, Rewrite, Scenario
from ...workload.workload import single_step
from ..questions.resolve import Resolved, model_graph, planned, resolve
from ..steps.evaluate import bindings
from ..steps.phase import free_symbols

PHASES = ("forward", "prefill", "decode")
ID_BYTES = 4  # of a token's number, where a network begins with a look-up and declares no input

Joints = tuple[tuple[str, tuple[tuple[int, int], ...]], ...]


@dataclass(frozen=True, slots=True)
class Hop:
    """The way between one machine and the next.

    Attributes:
        link: a rate (``100 Mbit/s``) or the name of a link of the machine before it.
        latency_s: seconds on the way beside that.
        narrowed: bytes sent over those of the tensors at the cut, for a bottleneck or a codec.
    """

    link: str
    latency_s: Value = 0.0
    narrowed: Value = 1.0


def hop_of(text: str) -> Hop:
    """``100 Mbit/s``, ``pcie``, or with what the way takes beside the link's own latency: ``100 Mbit/s + 5 ms``.

    Raises:
        BadInput: for a latency that is no time.
    """
    link, plus, latency = text.partition("+")
    if not link.strip():
        raise BadInput(f"the link {text!r}", expected="a rate like 100 Mbit/s, a latency behind it: 100 Mbit/s + 5 ms")
    return Hop(link.strip(), parse_quantity(latency.strip(), "s") if plus else 0.0)


@dataclass(frozen=True, slots=True)
class Cuttable:
    """A question and the places its network can be cut at.

    Attributes:
        machines: ids in the order of the work, the question's own last.
        joined: what no place divides (:func:`speedlight.graph.rewrite.stretch.stretch`).
        found: places with the bytes that cross.
        names: of places, for people.
        work: share of the network's matrix FLOPs in front of each place, with the axes of the question's sweep behind the places'.
    """

    question: Scenario
    machines: tuple[str, ...]
    joined: Joints
    found: Crossings
    names: tuple[str, ...]
    work: np.ndarray

    def at_work(self, share: Value) -> np.ndarray:
        """Index of the place nearest to having a share of the work in front of it; of places alike the first."""
        off = np.abs(self.work - np.asarray(share, dtype=float))
        nearest: np.ndarray = np.argmin(off, axis=0)
        return nearest


def cuttable(question: Scenario, before: Sequence[str]) -> Cuttable:
    """Where a question's network can be cut.

    Args:
        question: one program without a layout over several devices, of a phase whose cut is crossed once.
        before: machines ahead of the question's own, in order.

    Raises:
        BadInput, Unsupported: for a question that is no such.
    """
    check_cut(question, before)
    program = question.program
    machines = (*before, question.machine)
    graph = numbered(model_graph(program))
    resolved = [_alone(question, machine) for machine in machines]
    joined = _joined(graph, resolved)
    workload = program.workload
    written = as_written(graph, resolved[0].stack, program.model.autocast)
    _, dims = planned(resolved[0])
    step = single_step(workload)
    env = bindings(step, dims, free_symbols(graph, workload))
    groups = [group.env() for group in step.groups]
    every = crossings(written, env, groups)
    inside = {block: {at for a, b in spans for at in range(a + 1, b)} for block, spans in joined}
    blocks = [block.name for block in graph.blocks]
    kept = [
        i for i, p in enumerate(every.places)
        if p.block == len(blocks) or p.op not in inside.get(blocks[p.block], ())
    ]  # fmt: skip
    sent = every.bytes[kept]
    if not np.any(sent[0]):
        sent[0] = ID_BYTES * np.asarray(env["tokens"])
    found = Crossings(tuple(every.places[i] for i in kept), sent, every.tensors[kept])
    names = tuple(_name(p, len(blocks)) for p in found.places)
    return Cuttable(question, machines, joined, found, names, _work(graph, found.places, env, groups))


def check_cut(question: Scenario, before: Sequence[str]) -> None:
    """Refuse a question whose network is not cut by this version.

    Raises:
        BadInput, Unsupported: saying what would be.
    """
    program = question.program
    if len(question.programs) > 1 or program.workload.places:
        raise Unsupported(
            "a cut is through one model that lies on its devices", expected="a single program without --offload"
        )
    if program.workload.phase not in PHASES:
        raise Unsupported(
            f"a cut network in the phase {program.workload.phase!r}", expected=" or ".join(PHASES),
            hint="a call of generate is one prefill and its decode steps: ask for each",
        )  # fmt: skip
    if program.parallel != Parallel():
        raise Unsupported("each part of a cut network runs on one device by this version", expected="--tp 1 --pp 1 …")
    if not before:
        raise BadInput("no machine stands before the question's own", expected="at least one")
    machines = (*before, question.machine)
    if len(set(machines)) != len(machines):
        raise BadInput(
            f"two of the machines are called {max(machines, key=machines.count)!r}",
            expected="names of their own", hint=f"{machines[0]}#2 is another one of the same",
        )  # fmt: skip


def _alone(question: Scenario, machine: str) -> Resolved:
    """The whole question on one of the machines; figures stated with it are its own machine's."""
    return resolve(question if machine == question.machine else question.replace(machine=machine, overrides={}))


def _work(
    graph: Graph, places: Sequence[Place], env: Mapping[str, Value], groups: Sequence[Mapping[str, Value]]
) -> np.ndarray:  # fmt: skip
    """Share of the matrix FLOPs in front of each place; of a network without any, of its ops."""
    each: list[Expr] = [op.flops("matmul") * op.count for block in graph.blocks for op in block.ops]
    counts = [block.count for block in graph.blocks]
    found = np.stack(
        [np.asarray(v, dtype=float) for v in np.broadcast_arrays(*compile_tape([*each, *counts]).run(env, groups))]
    )
    if not np.all(found[: len(each)].sum(axis=0)):
        found[: len(each)] = 1.0
    number, behind = 0, np.zeros(found.shape[1:])
    starts: list[np.ndarray] = []
    within: list[np.ndarray] = []
    for index, block in enumerate(graph.blocks):
        ops = found[number : number + len(block.ops)]
        number += len(block.ops)
        starts.append(behind)
        within.append(np.concatenate([np.zeros((1, *ops.shape[1:])), np.cumsum(ops, axis=0)]))
        behind = behind + within[-1][-1] * found[len(each) + index]
    ahead = [
        starts[p.block] + within[p.block][-1] * p.instance + within[p.block][p.op] if p.block < len(starts) else behind
        for p in places
    ]  # fmt: skip
    return np.stack(ahead) / behind


def _name(place: Place, blocks: int) -> str:
    if not place.name:
        return "the beginning"
    return f"behind {place.name}" if place.block < blocks else "the end"


def _joined(graph: Graph, resolved: Sequence[Resolved]) -> Joints:
    """What any of the stacks runs as one kernel, as stretches of ops that no place divides."""
    spans: dict[str, list[tuple[int, int]]] = {block.name: [] for block in graph.blocks}
    for one in resolved:
        tagged = dataclasses.replace(one, graph=as_written(graph, one.stack, one.scenario.program.model.autocast))
        made, _ = planned(tagged)
        for block, kernels in zip(made.graph.blocks, made.program.blocks, strict=True):
            numbers = dict(zip((op.name for op in block.ops), numbers_of(block), strict=True))
            for kernel in kernels.kernels:
                for run in _runs([numbers[m] for m in kernel.members], ordered=one.stack.loops is None):
                    if run[1] - run[0] > 1:
                        spans.setdefault(block.name, []).append(run)
    return tuple((name, _united(found)) for name, found in spans.items() if found)


def _runs(numbers: Sequence[int], *, ordered: bool) -> list[tuple[int, int]]:
    """Stretches of op numbers; the end of one instance and the beginning of the next, which share a kernel, are two."""
    if not ordered:
        return [(min(numbers), max(numbers) + 1)]
    found: list[list[int]] = []
    for number in numbers:
        if found and number >= found[-1][-1]:
            found[-1].append(number)
        else:
            found.append([number])
    return [(run[0], run[-1] + 1) for run in found]


def _united(spans: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Stretches that overlap as one."""
    found: list[tuple[int, int]] = []
    for a, b in sorted(spans):
        if found and a < found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], b))
        else:
            found.append((a, b))
    return tuple(found)


def part_name(index: int, machines: Sequence[str]) -> str:
    """What the program on one of the machines is called."""
    return f"part {index + 1} of {len(machines)}"


def cut_at(
    cuttable: Cuttable, at: Sequence[np.ndarray | int], hops: Sequence[Hop], back: Hop | None = None
) -> Scenario:
    """The scenario of a cut, or of many: programs on machines of their own and what they hand on.

    Args:
        at: per cut an index into the places, or an array of them; later cuts no earlier.
        hops: the way across each cut.
        back: the way of the results to whoever asked; None where they are wanted on the last machine.
    """
    question, machines = cuttable.question, cuttable.machines
    numbers = np.array([place.number for place in cuttable.found.places])
    cuts = [f"cut_{i + 1}" for i in range(len(machines) - 1)]
    values = {name: _plain(numbers[index]) for name, index in zip(cuts, at, strict=True)}
    programs: list[Program] = []
    ends = ("", *cuts, "")
    for i, machine in enumerate(machines):
        own = {name: values[name] for name in ends[i : i + 2] if name}
        where = tuple((key, name) for key, name in zip(("start", "stop"), ends[i : i + 2], strict=True) if name)
        joints = (("joined", cuttable.joined),) if cuttable.joined else ()
        rewrites = (*question.program.model.rewrites, Rewrite("stretch", (*where, *joints)))
        workload = question.program.workload
        programs.append(
            dataclasses.replace(
                question.program,
                name=part_name(i, machines),
                machine="" if machine == question.machine else machine,
                model=dataclasses.replace(question.program.model, rewrites=rewrites),
                workload=dataclasses.replace(workload, symbols={**workload.symbols, **own}),
            )
        )
    ways = [
        Edge(programs[i].name, programs[i + 1].name, _sent(cuttable.found.bytes, at[i]) * hop.narrowed, hop.link, latency_s=hop.latency_s)
        for i, hop in enumerate(hops)
    ]  # fmt: skip
    if back is not None:
        results = _plain(cuttable.found.bytes[-1]) * back.narrowed
        ways.append(Edge(programs[-1].name, "", results, back.link, latency_s=back.latency_s))
    return question.replace(programs=tuple(programs), edges=tuple(ways), main=programs[-1].name)


def _sent(crossing: np.ndarray, at: np.ndarray | int) -> Value:
    """Bytes at some places; where the question is a sweep, each point's at its own place."""
    shape = np.broadcast_shapes(np.shape(at), crossing.shape[1:])
    everywhere = np.broadcast_to(crossing.reshape(len(crossing), *(1,) * (len(shape) - crossing.ndim + 1), *crossing.shape[1:]),
                                 (len(crossing), *shape))  # fmt: skip
    return _plain(np.take_along_axis(everywhere, np.broadcast_to(at, shape)[None], axis=0)[0])


def _plain(values: np.ndarray) -> Value:
    return values if np.ndim(values) else float(values)


__all__ = ["PHASES", "Cuttable", "Hop", "check_cut", "cut_at", "cuttable", "hop_of", "part_name"]
