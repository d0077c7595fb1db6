"""Changes of a scenario that many techniques make."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ..scenario.scenario import Rewrite, Scenario
from .subject import Subject


def with_model(subject: Subject, **changes: Any) -> Scenario:
    """Formats and the like of the main program's model reference."""
    return subject.scenario.with_program(model=dataclasses.replace(subject.model, **changes))


def with_rewrite(subject: Subject, name: str, **parameters: Any) -> Scenario:
    """A graph rewrite after those the model reference has (:mod:`speedlight.graph.rewrite`)."""
    rewrite = Rewrite(name, tuple(sorted(parameters.items())))
    return with_model(subject, rewrites=(*subject.model.rewrites, rewrite))


def with_workload(subject: Subject, **changes: Any) -> Scenario:
    return subject.scenario.with_workload(**changes)


def with_training(subject: Subject, **changes: Any) -> Scenario:
    return with_workload(subject, training=dataclasses.replace(subject.training, **changes))


def with_engines(subject: Subject, **changes: Any) -> Scenario:
    """Changes to how the engines serve the question's load."""
    return subject.scenario.replace(serving=subject.serving.with_engines(**changes))


def with_rules(subject: Subject, **rules: Any) -> Scenario:
    """Changes to the scheduler's policy."""
    serving = subject.serving
    return subject.scenario.replace(serving=serving.with_engines(rules={**serving.engines.rules, **rules}))


def with_parallel(subject: Subject, **changes: Any) -> Scenario:
    return subject.scenario.with_program(parallel=dataclasses.replace(subject.parallel, **changes))


def with_wire(subject: Subject, carries: str, **changes: Any) -> Scenario:
    """How messages of one sort travel (:class:`speedlight.scenario.scenario.Wire`), on top of what is said of them already."""
    parallel = subject.parallel
    wire = dataclasses.replace(parallel.wire(carries), **changes)
    others = tuple(w for w in parallel.wires if w.carries != carries)
    return with_parallel(subject, wires=tuple(sorted((*others, wire), key=lambda w: w.carries)))


def with_software(subject: Subject, changes: Mapping[str, Any]) -> Scenario:
    """Changes to the stack, in a stack file's words; lists are added to, mappings merged."""
    from ..stacks.stack import ADDED, merged

    own: dict[str, Any] = dict(subject.program.software)
    together = merged(own, changes)
    for key in ADDED:
        if key in own and key in changes:
            together[key] = [*own[key], *changes[key]]
    return subject.scenario.with_program(software=together)


def with_kernel(subject: Subject, fn: str, **figures: Any) -> Scenario:
    """A kernel variant put into the stack (:class:`speedlight.stacks.record.KernelVariant`)."""
    return with_software(subject, {"variants": [{"fn": fn, **figures}]})
