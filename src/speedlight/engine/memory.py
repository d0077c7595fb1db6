"""The memory of a whole call, from its steps' ledgers: the fullest moment counts."""

from __future__ import annotations

from collections.abc import Mapping

from .._foundation.arrays import Value, maximum
from ..lowering.ledger import Ledger
from ..workload.workload import Group, Step, Workload
from .evaluate import bindings
from .phase import Parts
from .resolve import Plan, Resolved


def memory_of(parts: Parts, resolved: Resolved, made: Plan, dims: Mapping[str, Value]) -> Ledger:
    """The ledger at the fullest moment: of ``generate``, the cache when the last token is written."""
    workload = resolved.scenario.program.workload
    first = parts.results[0][0].ledger
    if workload.phase != "generate":
        return first
    end = generation_end(resolved, made, dims, workload)
    return combine(first, end)


def generation_end(resolved: Resolved, made: Plan, dims: Mapping[str, Value], workload: Workload) -> Ledger:
    """The ledger while the last token of a generation is computed."""
    groups = (Group(workload.batch, 1, maximum(workload.isl + workload.osl - 2, 0)),)
    step = Step("decode", groups, 1, 0, False)
    env = bindings(step, dims, {})
    return made.ledger.evaluate(env, [g.env() for g in groups], resolved.machine.main.capacity_bytes, resolved.stack)


def combine(one: Ledger, other: Ledger) -> Ledger:
    """The larger of each class: memory is reserved for the worse of two moments."""
    return Ledger({k: maximum(one.by_class[k], other.by_class[k]) for k in one.by_class}, one.capacity)
