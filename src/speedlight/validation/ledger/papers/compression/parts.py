"""A part of a step before and after: rows of one kind, with the step's own relative interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...bench import Bench
from ...finding import Span


def of_kind(
    bench: Bench, kind: str, model: str, machine: str, techniques: Sequence[str], common: Mapping[str, Any]
) -> Span:
    """How many times less time a step's rows of one kind take, heads left out.

    Rows carry no interval of their own: how far the whole step's gain may be off, in proportion, is taken for the part's.
    """
    found = []
    for some in ((), techniques):
        answer = bench.detailed(model, machine, some, **common)
        rows = [o for o in answer.ops if o.kind == kind and "lm_head" not in o.name]
        found.append((sum(float(o.time) for o in rows), sum(float(o.limit) for o in rows)))
    whole = bench.speedup(bench.ask(model, machine, **common), bench.ask(model, machine, techniques, **common))
    ratio = found[0][0] / found[1][0]
    return Span(ratio * whole.low / whole.value, ratio, ratio * whole.high / whole.value, found[0][0] / found[1][1])
