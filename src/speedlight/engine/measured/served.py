"""A server's benchmark beside what its machine can do: which part of the latency is the model, which the load."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from ..._foundation.errors import SpeedlightError
from ...measurement.traces.served import Served
from ...scenario.scenario import Scenario
from ..predict import predict


@dataclass(frozen=True, slots=True)
class ServedDiagnosis:
    """Seconds of the mean request, by cause.

    Attributes:
        prefill, decode: expected of one prompt alone, and of a step at the measured number of requests in flight.
        limit: the decode step's speed of light.
        ttft, tpot: by cause; they sum to the measured means.
        first: the largest cause beside the expected prefill and decode; ``""`` where there is none.
        changes: (what, why, new tpot over old) of formats and layouts, re-predicted.
    """

    served: Served
    prefill: float
    decode: float
    limit: float
    bound: str
    ttft: dict[str, float]
    tpot: dict[str, float]
    first: str
    changes: tuple[tuple[str, str, float], ...]

    def to_dict(self) -> dict[str, Any]:
        fields = {name: getattr(self, name) for name in self.__slots__ if name not in ("served", "changes")}
        changes = [{"what": w, "why": y, "tpot_ratio": r} for w, y, r in self.changes]
        return {"served": {n: getattr(self.served, n) for n in self.served.__slots__}, **fields, "changes": changes}


def diagnose_served(served: Served, scenario: Scenario) -> ServedDiagnosis:
    """Set a benchmark beside predictions.

    Args:
        scenario: model, machine, formats, layout and stack; its sizes are taken from the benchmark.

    ``ttft`` beyond one prompt's prefill is waiting: in the queue, or behind other prompts in one step. ``tpot`` beyond the
    median gap between tokens is interference: steps that carried prompts too.
    """
    batch = max(round(served.in_flight), 1)
    context = max(round(served.inputs + served.outputs / 2), 1)
    prompt = max(round(served.inputs), 1)
    alone = predict(scenario.with_workload(phase="prefill", batch=1, isl=prompt), details=False)
    asked = scenario.with_workload(phase="decode", batch=batch, context=context)
    step = predict(asked)
    prefill, decode = float(alone.time), float(step.time)
    ttft = {"prefill": min(prefill, served.ttft[0])}
    ttft["waiting"] = served.ttft[0] - ttft["prefill"]
    median = served.itl[1] if math.isfinite(served.itl[1]) else served.tpot[1]
    median = min(median, served.tpot[0]) if math.isfinite(median) else served.tpot[0]
    tpot = {"decode": min(decode, median)}
    tpot["engine"] = median - tpot["decode"]
    tpot["interference"] = served.tpot[0] - median
    others = {"waiting": ttft["waiting"] / served.ttft[0] if served.ttft[0] else 0.0}
    others |= {k: tpot[k] / served.tpot[0] if served.tpot[0] else 0.0 for k in ("engine", "interference")}
    largest = max(others, key=lambda k: others[k])
    return ServedDiagnosis(
        served, prefill, decode, float(step.limit), str(step.bound), ttft, tpot, largest if others[largest] > 0.1 else "",
        _changes(asked, decode),
    )  # fmt: skip


def _changes(asked: Scenario, decode: float) -> tuple[tuple[str, str, float], ...]:
    """Formats and layouts people would try, re-predicted at the same load."""
    model, parallel = asked.program.model, asked.program.parallel
    ideas = [
        ("weights in fp8", dataclasses.replace(model, weights="fp8"), parallel),
        ("weights in int4", dataclasses.replace(model, weights="int4"), parallel),
        ("KV cache in fp8", dataclasses.replace(model, kv="fp8"), parallel),
        (f"--tp {2 * int(parallel.tp)}", model, dataclasses.replace(parallel, tp=2 * parallel.tp)),
    ]
    found = []
    for what, ref, layout in ideas:
        try:
            other = predict(asked.with_program(model=ref, parallel=layout), details=False)
        except SpeedlightError:  # a layout the model does not divide into, a format the machine lacks: no idea
            continue
        ratio = float(other.time) / decode
        if ratio < 0.97:
            found.append((what, f"decode step {decode * 1e3:.3g} → {float(other.time) * 1e3:.3g} ms", ratio))
    return tuple(sorted(found, key=lambda c: c[2])[:3])
