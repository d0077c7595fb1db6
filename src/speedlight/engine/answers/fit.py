"""Does it fit, and how far: largest batch, largest context, concurrent users, and what would make it fit.

Memory grows with batch and context, so both are found by bisection on the ledger alone; nothing is priced.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from ..._foundation.arrays import Value, maximum, minimum, shape_of, where
from ..._foundation.errors import BadInput, SpeedlightError
from ...lowering.ledger import Ledger
from ...scenario.scenario import Scenario
from ...workload.places import Place
from ...workload.workload import decode_step, prefill_step, single_step
from ..programs.chain import Link, together
from ..questions.resolve import Resolved, planned, resolve
from ..questions.sizes import check_sizes
from ..steps.memory import combine, ledger_at

MOST_SEQUENCES = 1 << 20
MOST_CONTEXT = 1 << 27


def fit(scenario: Scenario, *, levers: bool = True) -> dict[str, Any]:
    """CONTRACT's fit object plus the ledger.

    Args:
        scenario: batch, context (``isl + osl`` tokens a sequence for generation, ``context`` for decode) and formats.
        levers: also try the usual next steps (fewer bits, more devices, recomputation) and say which fit.

    Returns:
        ``fits``; ``by``: bytes of headroom (negative: missing); ``largest_batch`` at this context; ``largest_context`` at
        this batch (None where the model has no cache); ``users``: largest batch of sequences at full context; ``levers``.
    """
    resolved = resolve(scenario)
    workload = scenario.program.workload
    for stage in resolved.chain:
        check_sizes(stage.scenario.program.workload, stage.graph)
    ledger = _ledger(resolved)
    generates = workload.phase in ("decode", "prefill", "generate")
    answer: dict[str, Any] = {
        "fits": bool(ledger.fits),
        "by": float(ledger.headroom),
        "largest_batch": _largest(lambda n: _with(resolved, batch=n), MOST_SEQUENCES) if _batched(resolved) else None,
        "largest_context": _largest(lambda n: _at_context(resolved, n), MOST_CONTEXT) if generates else None,
        "users": None,
        "memory": {
            "total": float(ledger.total), "capacity": float(ledger.capacity), "headroom": float(ledger.headroom),
            "by_class": {k: float(v) for k, v in ledger.by_class.items()},
        },
        "context": _context(resolved) if generates else None,
        "batch": workload.batch,
    }  # fmt: skip
    if generates:
        answer["users"] = answer["largest_batch"]
    answer["levers"] = _levers(resolved) if levers and not answer["fits"] else []
    return answer


def _batched(resolved: Resolved) -> bool:
    """Whether the batch is a size of the question: a list of ops may have none."""
    return resolved.graph.attrs.get("kind") != "op list" or "batch" in resolved.graph.symbols


def _context(resolved: Resolved) -> Value:
    w = resolved.scenario.program.workload
    return w.context + 1 if w.phase == "decode" else w.isl if w.phase == "prefill" else w.isl + w.osl


def _with(resolved: Resolved, **changes: Any) -> Resolved:
    """The same question at other sizes; a batch is that of every program."""
    scenario = resolved.scenario.with_workload(groups=(), **changes)
    if "batch" in changes and resolved.stages:
        programs = tuple(
            dataclasses.replace(p, workload=dataclasses.replace(p.workload, batch=changes["batch"]))
            for p in scenario.programs
        )
        scenario = scenario.replace(programs=programs)
    return resolved.with_scenario(scenario)


def _at_context(resolved: Resolved, tokens: int) -> Resolved:
    """The same question with sequences of this many tokens in all."""
    phase = resolved.scenario.program.workload.phase
    if phase == "decode":
        return _with(resolved, context=max(tokens - 1, 0))
    if phase == "prefill":
        return _with(resolved, isl=tokens)
    osl = min(resolved.scenario.program.workload.osl, max(tokens - 1, 1))
    return _with(resolved, isl=max(tokens - osl, 1), osl=osl)


def _ledger(resolved: Resolved) -> Ledger:
    """The ledger of the question's fullest moment."""
    if not resolved.stages:
        return _ledger_of_one(resolved)
    links = [Link(stage, *planned(stage)) for stage in resolved.stages]
    return together(links, [_ledger_of_one(stage) for stage in resolved.stages])


def _ledger_of_one(resolved: Resolved) -> Ledger:
    """The same of one program.

    Engines prefill long prompts in chunks, so activations are those of at most ``attrs.chunk`` new tokens at a time.
    """
    workload = resolved.scenario.program.workload
    made, dims = planned(resolved)
    if workload.phase in ("decode", "prefill", "generate") and not workload.groups:
        total = _context(resolved)
        end = ledger_at(resolved, made, dims, decode_step(workload.batch, maximum(total - 1, 0), workload.new))
        if workload.phase == "decode":
            return end
        chunk = minimum(workload.isl * workload.batch, float(resolved.stack.attrs.get("chunk", 1e18)))
        start = ledger_at(resolved, made, dims, prefill_step(1, chunk))
        return combine(dataclasses.replace(start, by_class={**start.by_class, "kv": 0.0}), end)
    return ledger_at(resolved, made, dims, single_step(workload))


def _largest(question: Callable[[int], Resolved], most: int) -> int:
    """The largest size that fits, by doubling and bisection; 0 where not even 1 does."""

    def fits(size: int) -> bool:
        try:
            return bool(_ledger(question(size)).fits)
        except BadInput:
            return False

    if not fits(1):
        return 0
    low = 1
    while low < most and fits(low * 2):
        low *= 2
    high = min(low * 2, most)
    if low >= most:
        return most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def largest_batches(scenario: Scenario, most: int = 4096) -> Value:
    """The largest batch of the main program that fits, the other programs' growing with it; of a sweep every point's.

    Args:
        most: no more is tried.

    Returns:
        a whole number, or an array of the sweep's shape; where not even one sequence fits the batch asked for.
    """
    resolved = resolve(scenario)
    asked = scenario.program.workload.batch
    shape = shape_of(scenario)

    def fits(batch: Value) -> Value:
        programs = tuple(
            dataclasses.replace(p, workload=dataclasses.replace(p.workload, batch=p.workload.batch * (batch / asked)))
            for p in scenario.programs
        )
        return _ledger(resolved.with_scenario(scenario.replace(programs=programs))).fits

    one: Value = np.ones(shape) if shape else 1.0
    low, high = one * 0.0, one * (most + 1.0)  # the largest that fits, the least that is known not to
    while np.any(high - low > 1):
        middle = maximum((low + high) // 2, 1.0)
        good = fits(middle)
        low, high = where(good, middle, low), where(good, high, middle)
        high = maximum(high, low + 1)
    return where(low >= 1, low, one * asked)


def _levers(resolved: Resolved) -> list[dict[str, Any]]:
    """Single changes people make next, each with what it would leave; those that fit come first."""
    scenario = resolved.scenario
    model = scenario.program.model
    parallel = scenario.program.parallel
    workload = scenario.program.workload
    tries: list[tuple[str, Scenario]] = []
    if resolved.graph.attrs.get("kind") == "transformer":
        if workload.phase != "train":
            for number in ("fp8", "int4"):
                tries.append(
                    (f"--weights {number}", scenario.with_program(model=dataclasses.replace(model, weights=number)))
                )
            tries.append(("--kv fp8", scenario.with_program(model=dataclasses.replace(model, kv="fp8"))))
            if not workload.places and any(link.role == "host" for link in resolved.machine.links):
                tries += [
                    (f"--offload {cls}:host", scenario.with_workload(places=(Place(cls, "host"),)))
                    for cls in ("weights", "kv")
                ]
        for factor in (2, 4, 8):
            degree = int(parallel.tp) * factor
            if degree <= 64:
                wider = dataclasses.replace(parallel, tp=degree)
                tries.append((f"--tp {degree}", scenario.with_program(parallel=wider)))
    if workload.phase == "train":
        if int(parallel.dp) > 1:
            for stage in range(int(parallel.zero) + 1, 4):
                sharded = dataclasses.replace(parallel, zero=stage)
                tries.append((f"--zero {stage}", scenario.with_program(parallel=sharded)))
        if int(parallel.pp) * 2 <= 128:
            deeper = dataclasses.replace(parallel, pp=int(parallel.pp) * 2)
            tries.append((f"--pp {deeper.pp}", scenario.with_program(parallel=deeper)))
        if int(parallel.tp) > 1 and not parallel.sp:
            along = dataclasses.replace(parallel, sp=1)
            tries.append(("--sp 1", scenario.with_program(parallel=along)))
        if workload.training.recompute != "full":
            full = dataclasses.replace(workload.training, recompute="full")
            tries.append(("--recompute full", scenario.with_workload(training=full)))
        if not workload.training.offload:
            outside = dataclasses.replace(workload.training, offload=(("optimizer", "host"),))
            tries.append(("--offload optimizer:host", scenario.with_workload(training=outside)))
        if workload.batch > 1 and workload.training.micro_batch != 1:
            single = dataclasses.replace(workload.training, micro_batch=1)
            tries.append(("--micro-batch 1", scenario.with_workload(training=single)))
    elif workload.batch > 1:
        half = int(workload.batch) // 2
        tries.append((f"--batch {half}", scenario.with_workload(batch=half)))
    found = []
    for label, changed in tries:
        try:
            ledger = _ledger(resolve(changed))
        except SpeedlightError:
            continue  # a lever that does not apply here (heads that do not divide, too few devices) is no lever
        found.append({"change": label, "fits": bool(ledger.fits), "by": float(ledger.headroom)})
    return sorted(found, key=lambda lever: (not lever["fits"], -lever["by"]))
