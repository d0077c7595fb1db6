"""Evidence → a machine file for ``--on``: what the system describes of this machine, its guesses replaced by what was measured.

A rate is the best median among the points that can show it: bandwidth of a tier among working sets that fit it and no smaller
one, a product's peak among the large products. Best, not mean, since a peak is what limits are drawn from. What was not measured
stays as the system describes it, with its own grade. Dispatch stays in the evidence: what an operator costs the host is the
stack's, not the machine's. Of a GPU the catalogue knows ceilings that vendors state; a benchmark stays below them and replaces
none, unless it came out above.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..._foundation.files import write_atomically
from ...hardware.machine import Machine, Tier
from .evidence import Evidence, Measurement
from .operators import FP8, INTEGERS

LARGE_FLOPS = 1e9  # products below are start-up more than arithmetic
FITS = 0.6  # of a tier: beside the working set lie code, stack and other processes
LOOPS = ("read", "triad")  # compilers make library calls of plain copies and writes, some past the caches
BEYOND = 8.0  # times the last cache: what main memory's bandwidth is measured with
DIGITS = 4
NARROW = (
    ("bf16", "fp32"),
    ("fp16", "fp32"),
    ("int8", "int32"),
    ("fp8", "fp32"),
)  # formats that products may be in, and what they add up in
OWN_FORMAT = {INTEGERS: "int8", FP8: "fp8"}
CEILINGS = ("datasheet", "published", "derived")  # grades of a catalogue's figures
MOVES = {"copy": 2, "add": 3}  # arrays that operators of nothing but movement read and write


def measured_rates(evidence: Evidence, machine: Machine) -> dict[str, tuple[float, str]]:
    """By dotted path of a machine's figure: what was measured, and by which point."""
    found: dict[str, tuple[float, str]] = {}
    engine = machine.engine.name
    for form, accumulate in (("fp32", "fp32"), *NARROW):
        rates = [(_product_flops(p) / p.median, p.name) for p in evidence.of("operator") if _is_large(p, form)]
        if rates:
            found[f"engines.{engine}.peaks.{_unit(machine, form)}.{form}.{accumulate}"] = max(rates)
    found |= _tiers(evidence, machine)
    return found


def _unit(machine: Machine, form: str) -> str:
    """What multiplies matrices of a format: vector lanes, where a device's matrix units do not take it."""
    units = {p.unit for p in machine.engine.peaks if p.format == form}
    return "vector" if machine.kind != "cpu" and "matmul" not in units and "vector" in units else "matmul"


def _is_large(point: Measurement, form: str) -> bool:
    own = OWN_FORMAT.get(point.op) or str(point.sizes.get("format", "fp32"))
    return own == form and _product_flops(point) >= LARGE_FLOPS


def _product_flops(point: Measurement) -> float:
    """Of a product or a pointwise convolution run forward; 0 of anything else."""
    sizes = {name: float(v) for name, v in point.sizes.items() if isinstance(v, (int, float))}
    if sizes.get("backward"):
        return 0.0
    if point.op in ("mm", "linear", "bmm", *OWN_FORMAT):
        return 2.0 * sizes.get("b", 1.0) * sizes["m"] * sizes["n"] * sizes["k"]
    if point.op != "conv2d" or sizes.get("groups", 1.0) != 1.0:
        return 0.0
    stride, kernel = sizes.get("stride", 1.0), sizes["kernel"]
    if kernel != 1.0 or sizes.get("width", 1.0) != 1.0:
        return 0.0
    return 2.0 * sizes["b"] * ((sizes["side"] - 1.0) // stride + 1.0) ** 2 * sizes["filters"] * sizes["channels"]


def _tiers(evidence: Evidence, machine: Machine) -> dict[str, tuple[float, str]]:
    """Tiers by the working sets that fit them: caches of cores hold one thread's set, the last one all threads' together."""
    streams = [(float(p.sizes["working_set"]), p.moved, p) for p in evidence.of("stream") if p.op in LOOPS]
    cores = max(float(machine.engine.units), 1.0)
    if machine.kind != "cpu":
        # A device's caches serve all of its units, and its loops are operators.
        streams, cores = [(moved, moved, p) for p in evidence.of("operator") for moved in _moved(p)], 1.0
    found: dict[str, tuple[float, str]] = {}
    below = 0.0
    for tier in machine.tiers:
        if tier.role == "main":
            points = [(m, p) for size, m, p in streams if size * cores >= BEYOND * below]
        else:
            top = FITS * float(tier.capacity_bytes)
            points = [(m, p) for size, m, p in streams if below < size * cores <= top]
        rates = [(moved / p.median, p.name) for moved, p in points]
        if rates and tier.role in ("main", "cache"):
            found[f"tiers.{tier.name}.bandwidth"] = max(rates)
        below = float(tier.capacity_bytes)
    return found


def _moved(point: Measurement) -> Iterator[float]:
    """Bytes that an operator of nothing but movement reads and writes, which are its working set too."""
    if point.op in MOVES and set(point.sizes) == {"elements"}:
        yield 4.0 * MOVES[point.op] * float(point.sizes["elements"])


def machine_data(evidence: Evidence, machine: Machine, name: str) -> dict[str, Any]:
    """A machine file's content (``speedlight devices --schema``) of a processor, or of one of this machine's devices.

    Args:
        machine: as the system describes it (``here``).
        name: the id of the file's machine.
    """
    rates = measured_rates(evidence, machine)
    when = str(evidence.context.get("date", ""))

    def figure(path: str, value: Any) -> dict[str, Any]:
        fact = machine.facts.get(path)
        ceiling = machine.kind != "cpu" and fact is not None and fact.grade in CEILINGS
        if path in rates and (not ceiling or rates[path][0] > float(value)):
            best, point = rates[path]
            return {"value": _short(best), "grade": "measured", "source": f"speedlight measure, {when}: {point}"}
        known = {"grade": fact.grade, "source": fact.source} if fact is not None and fact.source else {}
        return {"value": _short(float(value)), **known}

    engine = machine.engine
    own = f"engines.{engine.name}"
    peaks = [
        {"unit": p.unit, "format": p.format, "accumulate": p.accumulate, "flops": figure(f"{own}.peaks.{p.unit}.{p.format}.{p.accumulate}", p.flops),
         **({} if p.sparse_flops is None else {"sparse": _short(float(p.sparse_flops))})}
        for p in engine.peaks
    ]  # fmt: skip
    given = {(p.unit, p.format) for p in engine.peaks}
    for form, accumulate in NARROW:
        path = f"{own}.peaks.matmul.{form}.{accumulate}"
        if path in rates and machine.kind == "cpu" and ("matmul", form) not in given:
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
        "links": [
            {
                "name": k.name, "role": k.role, "bandwidth": figure(f"links.{k.name}.bandwidth", k.bandwidth),
                "latency": figure(f"links.{k.name}.latency_s", k.latency_s),
            }
            for k in machine.links
        ],
        **({} if machine.tdp_w is None else {"tdp": figure("tdp_w", machine.tdp_w)}),
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
