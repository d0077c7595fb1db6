"""Sizes that make sense, checked before anything is priced."""

from __future__ import annotations

import numpy as np

from ..._foundation.arrays import Value
from ..._foundation.errors import BadInput
from ...graph.amounts import check_amounts
from ...graph.expert_spread import spread_of
from ...graph.ir import Graph
from ...graph.statistics import Statistic, statistics_of, unstated
from ...scenario.scenario import Scenario
from ...workload.workload import Workload
from ..steps.phase import free_symbols


def check_sizes(workload: Workload, graph: Graph) -> None:
    """Refuse sizes that are not positive whole numbers, and phases the model cannot do."""
    least = {"batch": 1, "isl": 1, "osl": 1, "context": 0, "new": 1, "reused": 0}
    for name, smallest in least.items():
        _whole(name, getattr(workload, name), smallest)
    known = {s.name: s for s in statistics_of(graph)}
    for name, value in workload.symbols.items():
        if name not in graph.symbols:
            raise BadInput(f"{graph.name} has no size {name!r}", expected=", ".join(graph.symbols) or "no free sizes")
        if name in known:
            _within(known[name], value)
        else:
            _whole(name, value, 0 if name in graph.attrs.get("optional", ()) else 1)
    for group in workload.groups:
        for name, smallest in (("count", 1), ("new", 1), ("cached", 0)):
            _whole(f"groups {name}", getattr(group, name), smallest)
    for name in ("new", "reused"):
        _whole(name, getattr(workload, name), least[name])
    if np.any(np.asarray(workload.reused) >= workload.isl) and np.any(np.asarray(workload.reused) > 0):
        raise BadInput(f"{workload.reused} tokens of a prompt of {workload.isl} reused", expected="all but one at most")
    _positive("outputs", workload.outputs)
    if workload.training.micro_batch is not None:
        _whole("micro_batch", workload.training.micro_batch, 1)
    _whole("virtual", workload.training.virtual, 1)
    training = workload.training
    if training.offload and workload.phase != "train":
        cls, tier = training.offload[0]
        raise BadInput(f"a training step's offload {cls}:{tier} in {workload.phase}", expected="--phase train")
    _places(workload, graph)
    if workload.phase != "train" and training.schedule != "1f1b":
        raise BadInput(f"a schedule {training.schedule!r} in {workload.phase}", expected="--phase train")
    if workload.moe_load != "balanced":
        spread_of(workload.moe_load)
        if not any(op.fn == "grouped_linear" for _, op in graph.ops()):
            raise BadInput(f"{graph.name} has no experts to load by {workload.moe_load!r}", expected="balanced")
    if workload.phase in ("prefill", "decode", "generate") and not graph.attrs.get("causal", False):
        raise BadInput(
            f"{graph.name} does not generate tokens, so it has no {workload.phase} phase", expected="--phase forward"
        )
    if graph.attrs.get("kind") == "op list":
        if workload.phase == "train":
            raise BadInput(
                f"{graph.name} is a list of ops, which has no backward pass",
                expected="--phase forward, its ops written down",
            )
        unstated(graph, {**workload.symbols, "batch": workload.batch})
        check_amounts(graph, free_symbols(graph, workload))
    static = graph.attrs.get("static", ())
    for name in static:
        wanted = workload.batch if name == "batch" else workload.symbols.get(name)
        if wanted is not None and np.any(np.asarray(wanted) != graph.symbols.get(name)):
            raise BadInput(
                f"the capture of {graph.name} holds at {name} = {graph.symbols.get(name)} only",
                hint=graph.attrs.get("static_hint", f"give --input with the {name} you want"),
            )


def _places(workload: Workload, graph: Graph) -> None:
    """Refuse shares that are none, and classes the model does not have."""
    for place in workload.places:
        if workload.phase == "train":
            raise BadInput(
                f"inference's offload {place.cls}:{place.tier} in a training step", expected="a phase of inference"
            )
        for name, value, most in (("share", place.share, 1.0), ("use", place.used, 1.0), ("slices", place.slices, 1e6)):
            array = np.asarray(value, dtype=float)
            if not np.all((array >= (1.0 if name == "slices" else 0.0)) & (array <= most)):
                raise BadInput(f"offload {place.cls}: {name} is {value!r}", expected=f"up to {most:g}")
        for name, value in (("rate", place.rate), ("intensity", place.intensity), ("packed", place.packed)):
            if value is not None and not np.all(np.asarray(value, dtype=float) > 0):
                raise BadInput(f"offload {place.cls}: {name} is {value!r}", expected="above 0")
        if place.cls == "experts" and not any(op.kind == "moe" for _, op in graph.ops()):
            raise BadInput(f"{graph.name} has no experts to offload", expected="weights or kv")
        if place.cls == "kv" and not graph.attrs.get("causal", False):
            raise BadInput(f"{graph.name} keeps no keys and values to offload", expected="weights")


def _within(statistic: Statistic, value: Value) -> None:
    """A number of the data: any within what makes sense."""
    array = np.asarray(value)
    if array.size == 0 or array.dtype.kind not in "iuf" or not np.all(np.isfinite(array)):
        raise BadInput(f"{statistic.name} is {value!r}", expected="a number")
    if np.any(array < statistic.least) or np.any(array > statistic.most):
        wrong = np.min(array) if np.any(array < statistic.least) else np.max(array)
        raise BadInput(f"{statistic.name} is {wrong:g}", expected=f"{statistic.least:g} to {statistic.most:g}")


def check_repeats(scenario: Scenario) -> None:
    """Refuse programs that run no times in a call; a share of a run is what one call in several does."""
    for program in scenario.programs:
        _positive(f"repeats of {program.name}", program.repeats)


def _positive(name: str, value: Value) -> None:
    array = np.asarray(value)
    if array.dtype.kind not in "iuf" or array.size == 0 or not np.all(np.isfinite(array)) or np.any(array <= 0):
        raise BadInput(f"{name} is {value!r}", expected="a number above 0")
    if np.any(array > 1e12):
        raise BadInput(f"{name} is {np.max(array):g}", expected="at most 10^12")


def _whole(name: str, value: Value, least: int) -> None:
    array = np.asarray(value)
    if array.size == 0:
        raise BadInput(f"{name} is an empty array", expected="at least one value")
    if array.dtype.kind not in "iuf" or not np.all(np.isfinite(array)):
        raise BadInput(f"{name} is {value!r}", expected="a whole number")
    if np.any(array < least):
        raise BadInput(f"{name} is {np.min(array):g}", expected=f"at least {least}")
    if np.any(array > 1e12):
        raise BadInput(f"{name} is {np.max(array):g}", expected="at most 10^12")
