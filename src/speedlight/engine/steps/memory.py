"""The memory of a whole call, from its steps' ledgers: the fullest moment counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from ..._foundation.arrays import Value, maximum
from ...lowering.ledger import Ledger
from ...workload.workload import Step, decode_step
from ..offload.away import ledger_away
from ..offload.away_ledger import joined
from ..questions.resolve import Plan, Resolved
from ..training.step import laid_out, ledger_of
from .evaluate import bindings
from .phase import Parts, free_symbols


def memory_of(parts: Parts, resolved: Resolved, made: Plan, dims: Mapping[str, Value]) -> Ledger:
    """The ledger of one program at its fullest moment: of ``generate``, the cache when the last token is written."""
    workload = resolved.scenario.program.workload
    first = parts.results[0][0].ledger
    if workload.phase != "generate":
        return first
    last = maximum(workload.isl + workload.osl - 2, 0)  # cached while the last token is computed
    return combine(first, ledger_at(resolved, made, dims, decode_step(workload.batch, last, workload.new)))


def ledger_at(resolved: Resolved, made: Plan, dims: Mapping[str, Value], step: Step) -> Ledger:
    """The ledger while one step runs, of the fullest rank; nothing is priced."""
    if laid_out(resolved):
        return ledger_of(resolved, made, dims, step, free_symbols(resolved.graph, resolved.scenario.program.workload))
    symbols = free_symbols(resolved.graph, resolved.scenario.program.workload)
    divided = resolved.scenario.program.parallel.cp
    if step.name != "decode" and np.any(np.asarray(divided) > 1):  # a rank has its part of each prompt's tokens
        step = dataclasses.replace(step, divided=divided)
    env = bindings(step, dims, symbols)
    groups = [g.env() for g in step.groups]
    ledger = made.ledger.evaluate(env, groups, resolved.machine.main.capacity_bytes, resolved.stack)
    return ledger_away(ledger, resolved, made, step, dims, symbols)


def combine(one: Ledger, other: Ledger) -> Ledger:
    """The larger of each class: memory is reserved for the worse of two moments."""
    by_class = {k: maximum(one.by_class[k], other.by_class[k]) for k in one.by_class}
    return Ledger(by_class, one.capacity, joined(one, other), {**one.room, **other.room})
