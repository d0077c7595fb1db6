"""An answer about unevenly chosen experts: its interval holds the spread of the busiest rank's load, its assumptions the rank classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from ..._foundation.arrays import Value, maximum, shape_of
from ..._foundation.provenance import Assumption
from ...graph.expert_spread import ranks, spread_of
from ...workload.workload import decode_step, single_step
from ..answers.prediction import Prediction
from ..steps.expert_ranks import DRAW, classes_of, described
from ..steps.intervals import UNIT
from .resolve import Resolved, planned


def loaded(resolved: Resolved, answer: Prediction, ask: Callable[[Resolved], Prediction]) -> Prediction:
    """The answer with the ends of its interval moved by what the load may be: independent of the kernels' errors, in squares.

    Args:
        answer: at the expected load of the busiest rank.
        ask: answers the same question at other loads.
    """
    scenario = resolved.scenario
    depth = len(shape_of(scenario))
    ends = np.array([-UNIT, UNIT]).reshape(2, *(1,) * depth)
    workload = scenario.program.workload
    other = resolved.with_scenario(scenario.with_workload(symbols={**workload.symbols, DRAW: ends}))
    times = np.broadcast_to(np.asarray(ask(other).time), (2, *np.shape(answer.time)))
    least, most = (_plain(side) for side in (times.min(axis=0), times.max(axis=0)))
    low = answer.time - ((answer.time - answer.low) ** 2 + maximum(answer.time - least, 0.0) ** 2) ** 0.5
    high = answer.time + ((answer.high - answer.time) ** 2 + maximum(most - answer.time, 0.0) ** 2) ** 0.5
    found = dataclasses.replace(answer, low=maximum(low, answer.limit), high=high)
    return found if not answer.assumptions else _said(found, resolved)


def _plain(values: np.ndarray) -> Value:
    return values if values.ndim else float(values)


def _said(answer: Prediction, resolved: Resolved) -> Prediction:
    """The answer to one question with its rank classes."""
    workload = resolved.scenario.program.workload
    chosen = next(
        op.selection for _, op in resolved.graph.ops() if op.fn == "grouped_linear" and op.selection is not None
    )
    _, dims = planned(resolved)
    step = (
        decode_step(workload.batch, workload.context, workload.new)
        if workload.phase == "decode"
        else single_step(workload)
    )
    tokens = float(step.env()["tokens"])
    if dims["routed"]:
        tokens *= float(dims["ep"] * dims["etp"] / dims["tp"])
    experts, picks = (float(e.constant or 1.0) for e in (chosen.items, chosen.picks))
    there = ranks(spread_of(workload.moe_load), tokens, picks, int(experts), max(int(dims["ep"]), 1))
    note = Assumption("expert load", workload.moe_load, "assumed", described(there))
    classes = [{"ranks": c.ranks, "rows": c.rows} for c in classes_of(there)]
    return dataclasses.replace(
        answer, assumptions=(note, *answer.assumptions),
        attrs={**answer.attrs, "experts": {"load": workload.moe_load, "classes": classes, "dropped": there.dropped}},
    )  # fmt: skip


__all__ = ["loaded"]
