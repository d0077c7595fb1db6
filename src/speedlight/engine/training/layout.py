"""From a question's sizes and degrees to what one rank runs, and which layouts of a training step cannot be."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..._foundation.arrays import Value, where
from ..._foundation.errors import Unsupported
from ...graph.ir import Graph
from ...placement.check import Complaint, refuse, validate
from ...placement.stages import deal_complaints
from ...scenario.scenario import Parallel, Program
from ...schedule.families import FAMILIES, parse
from ...workload.workload import Group, Step, Workload


def micro_batch(workload: Workload, parallel: Parallel) -> Value:
    """Sequences of one forward and backward pass: as stated, else a replica's whole share, in a pipeline one."""
    stated = workload.training.micro_batch
    if stated is not None:
        return stated
    return where(np.asarray(parallel.pp) > 1, 1, workload.batch / parallel.dp)


def step_of(workload: Workload, parallel: Parallel) -> Step:
    """The training step as one rank of a replica sees it: one micro-batch, so often as there are.

    With context parallelism a rank has 1/cp of each sequence's tokens.
    """
    micro = micro_batch(workload, parallel)
    groups = workload.groups or (Group(micro, workload.isl, 0),)
    return Step("train", groups, 0, 1, True, workload.batch / (parallel.dp * micro), parallel.cp)


def check_layout(program: Program, graph: Graph) -> None:
    """Refuse layouts that cannot be, naming the fix.

    Raises:
        BadInput: for the first of them.
        Unsupported: for axes that inference does not execute.
    """
    parallel, workload = program.parallel, program.workload
    training = workload.training
    validate(parallel)
    if workload.phase != "train":
        for name in ("cp", "zero", "sp"):
            value = getattr(parallel, name)
            if name == "cp" and workload.phase in ("prefill", "forward"):
                continue
            if np.any(np.asarray(value) > (1 if name == "cp" else 0)):
                raise Unsupported(
                    f"{name} {value} is executed in {'prompts and ' if name == 'cp' else ''}training steps only",
                    expected=f"--phase {'prefill or ' if name == 'cp' else ''}train, or no --{name}",
                    hint="tensor (--tp), expert (--ep) and pipeline (--pp) parallelism run in inference",
                )  # fmt: skip
        refuse(_contexts(workload, parallel, graph))
        refuse(deal_complaints(graph, parallel))
        if workload.places and np.any(np.asarray(parallel.pp) > 1):
            raise Unsupported("offload over pipeline stages is executed in training steps only", expected="--pp 1")
        if training.micro_batch is not None:
            refuse(_micro(workload))
        return
    refuse(complaints(program, graph))


def _micro(workload: Workload) -> Iterator[Complaint]:
    micro = workload.training.micro_batch
    yield Complaint(
        np.asarray(workload.batch) % np.asarray(micro) != 0, (("batch", workload.batch), ("micro", micro)),
        "micro-batch {micro} does not divide the batch {batch}", "a divisor of the batch",
    )  # fmt: skip


def _contexts(workload: Workload, p: Parallel, graph: Graph) -> Iterator[Complaint]:
    """What is wrong with dividing sequences."""
    yield Complaint(
        (np.asarray(p.cp) > 1) & (np.asarray(workload.isl) % np.asarray(p.cp) != 0), (("isl", workload.isl), ("cp", p.cp)),
        "sequences of {isl} tokens over cp {cp}", "a sequence length that cp divides",
    )  # fmt: skip
    heads = [d.size for d in graph.dims.values() if d.role == "heads"]
    if p.context == "ulysses" and heads:
        yield Complaint(
            np.asarray(heads[0]) % np.asarray(p.tp * p.cp) != 0, (("tp", p.tp), ("cp", p.cp)),
            f"tp {{tp}} · cp {{cp}} does not divide {heads[0]} heads, which Ulysses divides", f"tp · cp that divides {heads[0]}",
            "use --cp-kind ring",
        )  # fmt: skip


def complaints(program: Program, graph: Graph) -> Iterator[Complaint]:
    """What is wrong with a training step's layout beyond its degrees by themselves."""
    parallel, workload = program.parallel, program.workload
    training, p = workload.training, parallel
    micro = micro_batch(workload, parallel)
    yield Complaint(
        np.asarray(workload.batch) % np.asarray(p.dp) != 0, (("batch", workload.batch), ("dp", p.dp)),
        "a batch of {batch} over {dp} data-parallel replicas", "a global batch that dp divides", "use a larger --batch, or a smaller --dp",
    )  # fmt: skip
    yield Complaint(
        np.asarray(workload.batch) % np.asarray(p.dp * micro) != 0, (("batch", workload.batch), ("dp", p.dp), ("micro", micro)),
        "a batch of {batch} over {dp} replicas in micro-batches of {micro}: the micro-batch does not divide a replica's share",
        "micro-batch · dp that divides the batch", "use another --micro-batch",
    )  # fmt: skip
    yield from _contexts(workload, p, graph)
    yield from deal_complaints(graph, p, training.virtual)
    name, _ = parse(training.schedule)
    count = np.asarray(workload.batch) / np.asarray(p.dp * micro)
    chunks = FAMILIES[name].chunks
    if chunks is not None:
        yield Complaint(
            np.asarray(training.virtual) != chunks, (("virtual", training.virtual),), f"{{virtual}} stages a rank in {name}",
            f"{chunks} a rank", "--schedule interleaved:v has several",
        )  # fmt: skip
    if FAMILIES[name].even:
        odd = ((np.asarray(p.pp) % 2 == 1) | (count % 2 == 1)) & (np.asarray(p.pp) > 1)
        yield Complaint(
            odd,
            (("pp", p.pp), ("count", count)),
            f"{name} with {{pp}} ranks and {{count}} micro-batches",
            "even numbers of both",
        )
    if training.recompute_layers is not None:
        yield Complaint(
            np.asarray(training.recompute_layers) < 0, (("layers", training.recompute_layers),),
            "{layers} layers to compute again", "a number of layers of a stage, at least 0",
        )  # fmt: skip


__all__ = ["check_layout", "complaints", "micro_batch", "step_of"]
