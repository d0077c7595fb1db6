"""A scenario's steps, drawn kernel by kernel: the trace behind ``--timeline``. Its time is the prediction's."""

from __future__ import annotations

import numpy as np

from .._foundation.arrays import Value, shape_of
from .._foundation.errors import BadInput
from ..costs.cost import bound_names
from ..hardware.machine import Machine
from ..scenario.scenario import Scenario
from ..schedule.trace import Trace
from ..schedule.unrolled import MOST, Line, Stretch, Unrolled
from .chain import Link, as_one, run_chain
from .evaluate import StepResult
from .phase import Parts, weighted
from .predict import predict
from .resolve import Resolved, planned, resolve
from .sizes import check_repeats, check_sizes


def timeline(scenario: Scenario, *, most: int = MOST) -> Trace:
    """What runs when in one call.

    A step that runs often is drawn once, the rest of it is one span; so are blocks beyond ``most`` kernels. Decode steps over a
    growing context are drawn at its middle.

    Args:
        scenario: one question, no sweep.
        most: kernels drawn one by one.

    Raises:
        BadInput: for a sweep. As :func:`.predict.predict` otherwise.
    """
    if shape_of(scenario):
        raise BadInput("a timeline of a sweep", expected="one question: numbers, no arrays")
    time = float(predict(scenario, details=False).time)
    resolved = resolve(scenario)
    for stage in resolved.chain:
        check_sizes(stage.scenario.program.workload, stage.graph)
    check_repeats(scenario)
    links = [Link(stage, *planned(stage)) for stage in resolved.chain]
    return _drawn(resolved, as_one(links, run_chain(links)), time, most)


def _drawn(resolved: Resolved, parts: Parts, time: float, most: int) -> Trace:
    machine = resolved.machine
    picture = Unrolled(machine.device_id or machine.id, most=most)
    for index, (result, weight, nodes) in enumerate(parts.results):
        label = " ".join(filter(None, (parts.stages[index] if parts.stages else "", result.step.name)))
        node = (np.shape(weight)[0] // 2,) if nodes else ()
        before = picture.at
        whole = float(weighted(result.time, weight, nodes))
        often = float(np.sum(weight)) if nodes else float(weight)
        if often <= 0 or whole <= 0:
            continue
        host = resolved.stack.host
        picture.step(_stretches(result, machine, node), _at(host.step_s, node), inline=host.inline)
        left = whole - (picture.at - before)
        if often > 1 and left > 0:
            picture.summary(f"{label} × {often - 1:g} more", left, "folded", {"steps": often - 1})
    if time > picture.at * (1 + 1e-12):
        picture.summary("the busiest resource's least", time - picture.at, "wait")
    return picture.trace()


def _stretches(result: StepResult, machine: Machine, node: tuple[int, ...]) -> list[Stretch]:
    names = bound_names(machine)
    stretches = []
    for (block, phase, kernels), passage in zip(result.blocks, result.timeline.passages, strict=True):
        lines = []
        for priced in kernels:
            cost, kernel = priced.cost, priced.kernel
            device, host = cost.time * priced.starts, priced.issue_s
            facts = {
                "path": kernel.path, "phase": phase, "bound": names[int(_at(cost.bound, node))],
                "speed_of_light_s": _at(cost.limit, node), "flops": _at(cost.flops, node), "bytes": _at(cost.bytes, node),
                "rests_on": cost.layer,
            }  # fmt: skip
            lines.append(Line(kernel.name, kernel.kind, _at(device, node), _at(host, node), facts))
        stretches.append(Stretch(block, _at(passage.count, node), tuple(lines)))
    return stretches


def _at(value: Value, node: tuple[int, ...]) -> float:
    """One number of what may be an array over contexts."""
    array = np.asarray(value)
    return float(array[node] if array.ndim and node else array)
