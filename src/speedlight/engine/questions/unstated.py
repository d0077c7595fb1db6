"""Answers over what the question leaves open: data statistics range, and so does the time.

The answer itself stands at the middle of every range; its interval reaches from the least to the greatest end of the
intervals at all combinations of the ranges' ends, which are evaluated together as one more array axis. A time that is
least or greatest inside a range, not at its ends, is missed except at the middle.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..._foundation.arrays import Value, maximum, minimum, shape_of
from ..._foundation.provenance import GRADES, Assumption
from ..._foundation.quantity import format_time
from ...graph.statistics import Statistic, complete, corners, unstated
from ..answers.prediction import Prediction
from .resolve import Resolved
from .sizes import check_sizes


def open_statistics(resolved: Resolved) -> list[Statistic]:
    """The statistics of the data whose ranges the answer must span."""
    workload = resolved.scenario.program.workload
    return unstated(resolved.graph, {**workload.symbols, "batch": workload.batch})


def spanning(
    resolved: Resolved, left: Sequence[Statistic], answer: Prediction, ask: Callable[[Resolved], Prediction]
) -> Prediction:  # fmt: skip
    """The answer with an interval over the ranges, and the ranges among its assumptions.

    Args:
        left: what is open.
        answer: at the middles.
        ask: answers the same question at other values.
    """
    depth = len(shape_of(resolved.scenario))
    places = corners([s.name for s in left], depth)
    asked = _at(resolved, places)
    check_sizes(asked.scenario.program.workload, resolved.graph)
    every = ask(asked)
    low, high = (np.asarray(v) for v in (every.low, every.high))
    shape = np.shape(answer.time)
    found = dataclasses.replace(
        answer,
        low=minimum(answer.low, _shaped(np.min(low, axis=0), shape)),
        high=maximum(answer.high, _shaped(np.max(high, axis=0), shape)),
    )
    if answer.assumptions:
        notes = _notes(resolved, left, places, np.asarray(every.time), np.asarray(every.limit))
        if not np.all(every.fits) and np.all(answer.fits):
            notes.append(Assumption("memory", "does not fit at some ends of these ranges", "derived"))
        found = dataclasses.replace(found, assumptions=(*notes, *answer.assumptions))
    return found


def _shaped(value: np.ndarray, shape: tuple[int, ...]) -> Value:
    return float(value.reshape(())) if not shape else np.broadcast_to(value, shape)


def _at(resolved: Resolved, places: Mapping[str, np.ndarray]) -> Resolved:
    """The same question with every open statistic at those places of its range."""
    scenario = resolved.scenario
    workload = scenario.program.workload
    values = _values(resolved, places)
    symbols = {**workload.symbols, **{name: values[name] for name in places}}
    return dataclasses.replace(resolved, scenario=scenario.with_workload(symbols=symbols))


def _values(resolved: Resolved, places: Mapping[str, Value]) -> dict[str, Value]:
    graph, workload = resolved.graph, resolved.scenario.program.workload
    given = {**{k: v for k, v in graph.symbols.items() if v is not None}, **workload.symbols}
    if "batch" in graph.symbols:
        given["batch"] = workload.batch
    return complete(graph, given, places)


def _notes(
    resolved: Resolved, left: Sequence[Statistic], places: Mapping[str, np.ndarray], time: np.ndarray, limit: np.ndarray
) -> list[Assumption]:  # fmt: skip
    """Each range with the times it spans by itself, everything else in the middle of what it may be."""
    values = {name: np.ravel(np.asarray(v, dtype=float)) for name, v in _values(resolved, places).items()}
    times, limits = (
        time.reshape(time.shape[0], -1).mean(axis=1),
        np.broadcast_to(limit, time.shape).reshape(time.shape[0], -1).mean(axis=1),
    )
    notes = []
    for statistic in left:
        place, value = np.ravel(places[statistic.name]), values[statistic.name]
        ends = [(float(value[place == end].min()), float(value[place == end].max())) for end in (0.0, 1.0)]
        means = [
            format_time(float(np.exp(np.log(np.maximum(times[place == end], 1e-30)).mean()))) for end in (0.0, 1.0)
        ]
        middle = float(value[place == 0.5][0])
        grade = statistic.source.partition(":")[0]
        about = f"{statistic.about}; " if statistic.about else ""
        notes.append(
            Assumption(
                statistic.name, f"{ends[0][0]:.4g} to {ends[1][1]:.4g}, middle {middle:.4g}", grade if grade in GRADES else "assumed",  # type: ignore[arg-type]
                f"{about}not stated: time {means[0]} at the low end, {means[1]} at the high; set it with --set {statistic.name}=…"
                + (f" ({statistic.source})" if ":" in statistic.source else ""),
            )
        )  # fmt: skip
    notes.append(Assumption("speed of light", f"{format_time(float(limits.min()))} to {format_time(float(limits.max()))} over the ranges", "derived",
                            "shown at the middles"))  # fmt: skip
    return notes
