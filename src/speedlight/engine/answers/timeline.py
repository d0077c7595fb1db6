"""A scenario's steps, drawn kernel by kernel: the trace behind ``--timeline``. Its time is the prediction's."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..._foundation.arrays import Value, shape_of
from ..._foundation.errors import BadInput, Unsupported
from ...costs.cost import bound_names
from ...hardware.machine import Machine
from ...scenario.scenario import Scenario
from ...schedule.drawn import pipeline_trace
from ...schedule.serial import NOISE
from ...schedule.trace import Span, Trace, Track
from ...schedule.unrolled import MOST, Line, Stretch, Unrolled
from ..predict import predict
from ..programs.chain import Link, as_one, run_chain
from ..questions.resolve import Resolved, planned, resolve
from ..questions.sizes import check_repeats, check_sizes
from ..steps.evaluate import StepResult
from ..steps.phase import Parts, weighted

SENDS = ("stages.send", "stages.gather", "stages.pack", "vocabulary.exchange")  # part of the passes, drawn between them


def timeline(scenario: Scenario, *, most: int = MOST) -> Trace:
    """What runs when in one call.

    A step that runs often is drawn once, the rest of it is one span; so are blocks beyond ``most`` kernels. Decode steps over a
    growing context are drawn at its middle.

    Args:
        scenario: one question, no sweep.
        most: kernels drawn one by one.

    Raises:
        BadInput: for a sweep. As :func:`..predict.predict` otherwise.
    """
    if shape_of(scenario):
        raise BadInput("a timeline of a sweep", expected="one question: numbers, no arrays")
    if any(program.workload.places for program in scenario.programs):
        raise Unsupported("transfers from outside the device are not drawn by this version", expected="no --offload")
    time = float(predict(scenario, details=False).time)
    resolved = resolve(scenario)
    for stage in resolved.chain:
        check_sizes(stage.scenario.program.workload, stage.graph)
    check_repeats(scenario)
    links = [Link(stage, *planned(stage)) for stage in resolved.chain]
    return _drawn(resolved, as_one(links, run_chain(links)), time, most)


def _drawn(resolved: Resolved, parts: Parts, time: float, most: int) -> Trace:
    if len(parts.results) == 1 and parts.results[0][0].run is not None:
        return _laid(parts.results[0][0], time)
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
    if time > picture.at * (1 + NOISE):
        picture.summary("the busiest resource's least", time - picture.at, "wait")
    return picture.trace()


def _laid(result: StepResult, time: float) -> Trace:
    """A step on several devices: its passes, then what every rank does once."""
    run = result.run
    assert run is not None
    trace = pipeline_trace(run)
    at = max(s.end for s in trace.spans if s.critical)
    track = len(trace.tracks)
    spans: list[Span] = []
    once = [
        *(("gradients", n, s) for n, s in _once(result, "backward")), *(("optimizer", n, s) for n, s in _updates(result)),
        *(("weights", n, s) for n, s in _once(result, "optimizer")),
    ]  # fmt: skip
    for kind, name, seconds in once:
        spans.append(Span(track, name, at, at + seconds, kind, True))
        at += seconds
    left = time - trace.time - sum(s.end - s.start for s in spans)
    if left > NOISE * time:
        spans.append(Span(track, "the busiest resource's least", at, at + left, "wait", True))
    after = Track("every rank", "after its passes") if spans else None
    notes = (*trace.notes, "messages and updates after the passes: what of them lengthens the step")
    return Trace(
        time,
        (*trace.tracks, *((after,) if after else ())),
        (*trace.spans, *spans),
        trace.flows,
        notes if spans else trace.notes,
    )


def _once(result: StepResult, phase: str) -> Iterator[tuple[str, float]]:
    """Messages of a phase that run once a step: (name, seconds that lengthen it)."""
    for block, _, kernels in result.blocks:
        for k in kernels:
            if block == "messages" and k.kernel.phase == phase and k.kernel.name not in SENDS and k.exposed is not None:
                if (seconds := float(k.exposed)) > 0:
                    yield k.kernel.name, seconds


def _updates(result: StepResult) -> Iterator[tuple[str, float]]:
    for (block, phase, _), passage in zip(result.blocks, result.timeline.passages, strict=True):
        seconds = float(passage.count * passage.device + passage.gap)
        if phase == "optimizer" and block != "messages" and seconds > 0:
            yield block, seconds


def _stretches(result: StepResult, machine: Machine, node: tuple[int, ...]) -> list[Stretch]:
    names = result.names or bound_names(machine)
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
