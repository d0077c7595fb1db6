"""``speedlight measure`` without a model: the whole suite on this machine, evidence and a machine file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..._foundation.errors import BadInput
from ...hardware.catalogue import load_machine
from ...hardware.machine import Machine
from .accelerator import default_device, waiting
from .context import circumstances
from .evidence import Evidence, Measurement, resumed, write
from .machine_file import measured_rates, write_machine
from .operators import operator
from .plan import points
from .point import Point
from .run import PATIENCE, SECONDS, measure
from .timing import timed

SORTS = ("launch", "stream", "operator", "transfer", "message", "disk")
SLOW_FORMAT = 3.0  # times the seconds of fp32 from which a format is emulated and measuring it is no use
PROBE = 512  # side of the product that tells


def measure_here(
    out: Path, machine_file: Path | None, *, quick: bool = False, only: tuple[str, ...] = (), seconds: float = SECONDS,
    device: str | None = None, tell: Callable[[int, int, Point, Measurement | str], None] = lambda *_: None,
) -> dict[str, Any]:  # fmt: skip
    """Measure this machine and write what was found.

    Args:
        out: evidence file, written after each point; one that exists is gone on with.
        machine_file: machine file to write from it; None for none.
        quick: a few points of each sort.
        only: sorts of benchmark (:data:`SORTS`); all where empty.
        seconds: for each point, at most.
        device: PyTorch's name (``cpu``, ``cuda``, ``mps``); by default the accelerator, where there is one.
        tell: called with (number, of how many, point, what was found).

    Raises:
        MissingDependency: without PyTorch.
        BadInput: for an unknown sort, or an evidence file of another machine.
    """
    strange = [s for s in only if s not in SORTS]
    if strange:
        raise BadInput(f"{strange[0]!r} is no sort of benchmark", expected="of " + ", ".join(SORTS))
    device = device or default_device()
    machine = load_machine("here")
    facts = {"id": machine.id, "name": machine.name, "kind": machine.kind, "units": float(machine.engine.units)}
    evidence = resumed(out, facts, circumstances(device))
    formats, slow = _formats(device)
    cache = max((float(t.capacity_bytes) for t in machine.tiers if t.role == "cache"), default=2.0**25)
    plan = [p for p in points(cache, formats, device, slow) if (not quick or p.quick) and (not only or p.sort in only)]
    left = [p for p in plan if p.name not in evidence.done()]
    patience = PATIENCE / 10 if quick else PATIENCE
    evidence = measure(left, evidence, out, device=device, seconds=seconds, patience=patience, tell=tell)
    evidence = dataclasses.replace(evidence, complete=not (quick or only))
    write(out, evidence)
    written = None
    if machine_file is not None:
        written = str(write_machine(machine_file, evidence, machine))
    return summary(evidence, machine, str(out), written, len(left))


def summary(evidence: Evidence, machine: Machine, out: str, written: str | None, new: int) -> dict[str, Any]:
    """The JSON object of ``measure``: rates beside what was described before, points, what failed."""
    rates = measured_rates(evidence, machine)
    return {
        "machine": {"id": machine.id, "name": machine.name}, "context": dict(evidence.context), "evidence": out,
        "machine_file": written, "points": len(evidence.points), "new": new, "failed": dict(evidence.failed),
        "warnings": sorted({p.warning for p in evidence.points if p.warning}), "loose": sum((p.high - p.low) > 0.1 * p.median for p in evidence.points),
        "rates": [
            {"path": path, "measured": value, "before": _before(machine, path), "point": point}
            for path, (value, point) in rates.items()
        ],
        "launches": {p.op: p.median for p in evidence.of("launch")},
    }  # fmt: skip


def _before(machine: Machine, path: str) -> float | None:
    fact = machine.facts.get(path)
    return None if fact is None or not isinstance(fact.value, (int, float)) else float(fact.value)


def _formats(device: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(fp32 and the 16-bit formats that the device multiplies in about the same time or less, those that are emulated)."""
    sizes, wait = {"m": PROBE, "n": PROBE, "k": PROBE}, waiting(device)
    base = timed(operator("mm", {**sizes, "format": "fp32"}, device), seconds=0.05, wait=wait).median
    found, slow = ["fp32"], list[str]()
    for form in ("bf16", "fp16"):
        try:
            seconds = timed(operator("mm", {**sizes, "format": form}, device), seconds=0.05, wait=wait).median
        except RuntimeError:
            continue
        (found if seconds < SLOW_FORMAT * base else slow).append(form)
    return tuple(found), tuple(f for f in slow if f == "bf16")  # fp16 has no autocast's kernels on hosts to speak of
