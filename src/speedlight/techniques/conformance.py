"""What any technique must hold, shipped or a third party's: call :func:`broken` in your tests with questions it is about.

::

    from speedlight.techniques.conformance import QUESTIONS, broken
    assert not [fault for question in QUESTIONS for fault in broken(MY_TECHNIQUE, question())]
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from .._foundation.errors import SpeedlightError
from ..engine.answers.prediction import Prediction
from ..engine.predict import predict
from ..engine.questions.question import make_scenario
from ..scenario.scenario import Scenario
from ..workload.workload import Workload
from .compose import Refused, Set, edited
from .technique import Technique

# Small questions of every sort a technique may be about; called when needed, since each loads a model.
QUESTIONS: tuple[Callable[[], Scenario], ...] = (
    lambda: make_scenario("llama-3.1-8b", "h100-sxm-80gb", phase="decode", batch=8, context=4096),
    lambda: make_scenario("llama-3.1-8b", "rtx-4090", phase="prefill", batch=2, isl=2048),
    lambda: make_scenario("gpt2-xl", "a100-sxm-80gb", phase="generate", batch=4, isl=256, osl=64),
    lambda: make_scenario("mixtral-8x7b", "dgx-h100", phase="decode", batch=32, context=2048, tp=8),
    lambda: make_scenario("llama-3.1-8b", "dgx-h100", phase="train", batch=32, isl=4096, dp=4, tp=2, micro_batch=1),
    lambda: make_scenario("resnet50", "a100-sxm-80gb", batch=64),
    lambda: make_scenario("vit_base_patch16_224", "rtx-3090", batch=32),
    lambda: make_scenario("bert-large", "a100-sxm-80gb", phase="train", batch=32, isl=512),
)


def broken(technique: Technique, question: Scenario) -> list[str]:
    """The laws a technique breaks on a question, in words; empty where it keeps them all, or says why it does not apply.

    * it either changes the question or refuses with a reason; the question itself stays as it was;
    * low ≤ time ≤ high, and no time below its limit;
    * a sweep over batches equals a loop over them;
    * once its edits are made, making them again changes nothing or is refused;
    * with neutral parameters nothing changes; what only changes memory leaves FLOPs alone.
    """
    faults = _named(technique)
    one = Set(technique, technique.settings({}))
    before = repr(question)
    try:
        changed = edited(question, (one,))
    except Refused:
        return faults
    if repr(question) != before:
        faults.append("it changes the question it was given")
    if edited(question, (one,)) != changed and not _holds_arrays(changed):
        faults.append("its edits differ from one call to the next")
    try:
        after = predict(changed, details=False)
    except SpeedlightError as error:
        return [*faults, f"it applies, and the engine then refuses: {error.message}"]
    base = predict(question, details=False)
    faults += _bounds(after)
    if technique.memory_only and not np.isclose(float(base.flops), float(after.flops), rtol=1e-9):
        faults.append(f"it only changes memory, and FLOPs go from {float(base.flops):.4g} to {float(after.flops):.4g}")
    faults += _neutral(technique, question, base)
    return faults + _sweeps(one, question, after)


def _named(technique: Technique) -> list[str]:
    faults = []
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9.]+)*", technique.name):
        faults.append(f"{technique.name!r} is no kebab-case name")
    if not technique.title or not technique.mechanism:
        faults.append("it has no title or no mechanism")
    if not technique.papers and not technique.citation:
        faults.append("it cites nothing")
    for p in technique.parameters:
        for value in (p.default, *p.choices, *p.trials):
            try:
                p.parsed(value, technique.name)
            except SpeedlightError as error:
                faults.append(f"its own value is refused: {error.message}")
    return faults


def _holds_arrays(scenario: Scenario) -> bool:
    return "array(" in repr(scenario)


def _bounds(answer: Prediction) -> list[str]:
    time, low, high, limit = (float(getattr(answer, n)) for n in ("time", "low", "high", "limit"))
    faults = []
    if not low <= time * (1 + 1e-12) or not time <= high * (1 + 1e-12):
        faults.append(f"its interval {low:.4g} … {high:.4g} leaves out its time {time:.4g}")
    if time < limit * (1 - 1e-9):
        faults.append(f"its time {time:.4g} is below its limit {limit:.4g}")
    if not np.isfinite([time, low, high, limit]).all() or time <= 0:
        faults.append(f"its time is {time}")
    return faults


def _neutral(technique: Technique, question: Scenario, base: Prediction) -> list[str]:
    given = {p.name: p.neutral for p in technique.parameters if p.neutral is not None}
    if not given:
        return []
    try:
        same = predict(edited(question, (Set(technique, technique.settings(given)),)), details=False)
    except Refused:
        return []
    apart = [n for n in ("time", "flops", "bytes") if not _close(getattr(base, n), getattr(same, n))]
    if not _close(base.memory.total, same.memory.total):
        apart.append("memory")
    return [f"with neutral parameters {given} it changes {', '.join(apart)}"] if apart else []


def _close(a: Any, b: Any) -> bool:
    return bool(np.isclose(float(a), float(b), rtol=1e-6))


def _sweeps(one: Set, question: Scenario, after: Prediction) -> list[str]:
    """A sweep over batches equals its points."""
    w: Workload = question.program.workload
    if w.phase == "train" or w.groups or len(question.programs) > 1:
        return []
    sizes = [float(w.batch), 2.0 * float(w.batch), 64.0]
    try:
        swept = predict(edited(question.with_workload(batch=np.array(sizes)), (one,)), details=False)
    except (SpeedlightError, ValueError, TypeError) as error:
        return [f"it cannot be swept over batches: {type(error).__name__}: {error}"]
    faults = []
    for index, size in enumerate(sizes):
        alone = after if not index else predict(edited(question.with_workload(batch=size), (one,)), details=False)
        many = np.broadcast_to(np.asarray(swept.time), (len(sizes),))[index]
        if not np.isclose(many, float(alone.time), rtol=1e-9):
            faults.append(f"at batch {size:g} a sweep says {many:.6g}, the point alone {float(alone.time):.6g}")
    return faults
