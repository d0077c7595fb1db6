"""Evidence → a machine file for ``--on``: what the system describes of this machine, its guesses replaced by what was measured.

A rate is the best median among the points that can show it: bandwidth of a tier among working sets that fit it and no smaller
one, a product's peak among the large products. Best, not mean, since a peak is what limits are drawn from. What was not measured
stays as the system describes it, with its own grade. Dispatch stays in the evidence: what an operator costs the host is the
stack's, not the machine's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..._foundation.files import write_atomically
from ...hardware.machine import Machine, Tier
from .evidence import Evidence, Measurement
from .operators import INTEGERS

LARGE_FLOPS = 1e9  # products below are start-up more than arithmetic
FITS = 0.6  # of a tier: beside the working set lie code, stack and other processes
LOOPS = ("read", "triad")  # compilers make library calls of plain copies and writes, some past the caches
BEYOND = 8.0  # times the last cache: what main memory's bandwidth is measured with
DIGITS = 4
NARROW = (
    ("bf16", "fp32"),
    ("fp16", "fp32"),
    ("int8", "int32"),
)  # formats that a host may multiply in, and what they add up in


def measured_rates(evidence: Evidence, machine: Machine) -> dict[str, tuple[float, str]]:
    """By dotted path of a machine's figure: what was measured, and by which point."""
    found: dict[str, tuple[float, str]] = {}
    engine = machine.engine.name
    for form, accumulate in (("fp32", "fp32"), *NARROW):
        rates = [(_product_flops(p) / p.median, p.name) for p in evidence.of("operator") if _is_large(p, form)]
        if rates:
            found[f"engines.{engine}.peaks.matmul.{form}.{accumulate}"] = max(rates)
    found |= _tiers(evidence, machine)
    return found


def _is_large(point: Measurement, form: str) -> bool:
    own = "int8" if point.op == INTEGERS else str(point.sizes.get("format", "fp32"))
    return own == form and _product_flops(point) >= LARGE_FLOPS


def _product_flops(point: Measurement) -> float:
    """Of a product or a pointwise convolution run forward; 0 of anything else."""
    sizes = {name: float(v) for name, v in point.sizes.items() if isinstance(v, (int, float))}
    if sizes.get("backward"):
        return 0.0
    if point.op in ("mm", "linear", "bmm", INTEGERS):
        return 2.0 * sizes.get("b", 1.0) * sizes["m"] * sizes["n"] * sizes["k"]
    if point.op != "conv2d" or sizes.get("groups", 1.0) != 1.0:
        return 0.0
    stride, kernel = sizes.get("stride", 1.0), sizes["kernel"]
    if kernel != 1.0 or sizes.get("width", 1.0) != 1.0:
        return 0.0
    return 2.0 * sizes["b"] * ((sizes["side"] - 1.0) // stride + 1.0) ** 2 * sizes["filters"] * sizes["channels"]


def _tiers(evidence: Evidence, machine: Machine) -> dict[str, tuple[float, str]]:
    """Tiers by the working sets that fit them: caches of cores hold one thread's set, the last one all threads' together."""
    streams = [p for p in evidence.of("stream") if p.op in LOOPS]
    cores = max(float(machine.engine.units), 1.0)
    found: dict[str, tuple[float, str]] = {}
    below = 0.0
    for tier in machine.tiers:
        if tier.role == "main":
            points = [p for p in streams if float(p.sizes["working_set"]) * cores >= BEYOND * below]
        else:
            points = [
                p for p in streams if below < float(p.sizes["working_set"]) * cores <= FITS * float(tier.capacity_bytes)
            ]
        rates = [(p.moved / p.median, p.name) for p in points]
        if rates and tier.role in ("main", "cache"):
            found[f"tiers.{tier.name}.bandwidth"] = max(rates)
        below = float(tier.capacity_bytes)
    return found


def machine_data(evidence: Evidence, machine: Machine, name: str) -> dict[str, Any]:
    """A machine file's content (``speedlight devices --schema``) of a processor.

    Args:
        machine: as the system describes it (``here``).
        name: the id of the file's machine.
    """
    rates = measured_rates(evidence, machine)
    when = str(evidence.context.get("date", ""))

    def figure(path: str, value: Any) -> dict[str, Any]:
        if path in rates:
            best, point = rates[path]
            return {"value": _short(best), "grade": "measured", "source": f"speedlight measure, {when}: {point}"}
        fact = machine.facts.get(path)
        known = {"grade": fact.grade, "source": fact.source} if fact is not None and fact.source else {}
        return {"value": _short(float(value)), **known}

    engine = machine.engine
    own = f"engines.{engine.name}"
    peaks = [
        {"unit": p.unit, "format": p.format, "accumulate": p.accumulate, "flops": figure(f"{own}.peaks.{p.unit}.{p.format}.{p.accumulate}", p.flops)}
        for p in engine.peaks
    ]  # fmt: skip
    given = {(p.unit, p.format) for p in engine.peaks}
    for form, accumulate in NARROW:
        path = f"{own}.peaks.matmul.{form}.{accumulate}"
        if path in rates and ("matmul", form) not in given:
            peaks.append({"unit": "matmul", "format": form, "accumulate": accumulate, "flops": figure(path, 0.0)})
    return {
        "schema": 1, "sort": "device", "id": name, "name": machine.name, "vendor": machine.vendor, "kind": machine.kind,
        "architecture": machine.architecture, "device_strings": list(machine.device_strings),
        "engines": [
            {
                "name": engine.name, "kind": engine.kind, "units": figure(f"{own}.units", engine.units),
                "clock": figure(f"{own}.clock_hz", engine.clock_hz), "tiles": [list(t) for t in engine.tiles],
                "launch_latency": figure(f"{own}.launch_latency_s", engine.launch_latency_s), "peaks": peaks,
            }
        ],
        "tiers": [_tier(t, figure) for t in machine.tiers],
        "notes": list(_notes(evidence, machine.notes)),
    }  # fmt: skip


def _tier(tier: Tier, figure: Any) -> Mapping[str, Any]:
    path = f"tiers.{tier.name}"
    return {
        "name": tier.name, "role": tier.role, "capacity": figure(f"{path}.capacity_bytes", tier.capacity_bytes),
        "bandwidth": figure(f"{path}.bandwidth", tier.bandwidth), "latency": figure(f"{path}.latency_s", tier.latency_s),
        "granule": float(tier.granule_bytes),
    }  # fmt: skip


def _notes(evidence: Evidence, before: Iterable[str]) -> Iterable[str]:
    yield from (note for note in before if "is a guess until" not in note)
    warned = sum(bool(p.warning) for p in evidence.points)
    if warned:
        yield f"while {warned} of {len(evidence.points)} points were measured, others took time of the processor"
    if not evidence.complete:
        yield "the measurement was interrupted: figures without a point are as the system describes them"


def write_machine(path: Path, evidence: Evidence, machine: Machine, name: str = "here-measured") -> Path:
    """Write the machine file, whole or not at all."""
    import yaml

    text = yaml.safe_dump(machine_data(evidence, machine, name), sort_keys=False, allow_unicode=True, width=120)
    write_atomically(path, text)
    return path


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
