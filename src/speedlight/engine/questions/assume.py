"""What an answer rests on that the question did not state, or that no source backs (DESIGN decision 12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._foundation.provenance import Assumption
from ...hardware.machine import Machine
from ..steps.phase import Parts, weighted
from .resolve import Resolved

if TYPE_CHECKING:
    from ..answers.prediction import Prediction


def assumptions_of(resolved: Resolved, prediction: Prediction, parts: Parts) -> tuple[Assumption, ...]:
    """Defaults taken, figures graded assumed that the answer used, and how wide the interval is for want of data."""
    machine, stack, graph = resolved.machine, resolved.stack, resolved.graph
    found = list(resolved.assumptions)
    workload = resolved.scenario.program.workload
    if workload.phase == "decode" and not workload.groups:
        found.append(
            Assumption("context", workload.context, "assumed", "tokens cached per sequence; set it with --context")
        )
    if resolved.stages:
        found += _stages(resolved)
    elif "prompt" in graph.attrs:
        source = workload.symbols.get("source", graph.symbols["source"])
        how = "--seconds" if graph.attrs["source_per_second"] else "--isl"
        found.append(
            Assumption("source", source, "assumed", f"positions an encoder reads per sequence; set with {how}")
        )
        if workload.phase != "decode":
            found.append(
                Assumption("decoder", workload.isl, "assumed", "tokens the decoder reads at once per sequence")
            )
    elif workload.phase in ("prefill", "generate", "train", "forward") and graph.attrs.get("kind") == "transformer":
        found.append(Assumption("isl", workload.isl, "assumed", "prompt tokens per sequence; set it with --isl"))
    if prediction.peak_used is not None:
        peak = prediction.peak_used
        found.append(
            Assumption(
                "peak", f"{peak.format} with {peak.accumulate} accumulation, dense: {peak.flops / 1e12:.4g} TFLOP/s",
                peak.grade, "the peak MFU is measured against",  # type: ignore[arg-type]
            )
        )  # fmt: skip
    point = resolved.scenario.point
    found.append(Assumption("clock", f"{point.core_clock:g} × the spec sheet's", "assumed", "no throttling modelled"))
    used = [f"tiers.{machine.main.name}.bandwidth", f"tiers.{machine.main.name}.capacity_bytes"]
    if machine.last_cache is not None:
        used += [f"tiers.{machine.last_cache.name}.bandwidth", f"tiers.{machine.last_cache.name}.capacity_bytes"]
    if stack.device_latency:
        used.append(f"engines.{machine.engine.name}.launch_latency_s")
    if prediction.peak_used is not None:
        used.append(f"engines.{machine.engine.name}.peaks.matmul.{prediction.peak_used.format}")
    if any(row.kind == "collective" for row in prediction.ops):
        used += [f"domains.{d.name}" for d in machine.domains]
    found += machine.assumptions(tuple(used))
    found += stack.assumptions
    found += [Assumption(str(what), value) for what, value in graph.attrs.get("assumptions", ())]
    if parts.error:
        found.append(
            Assumption("decode integration", f"{parts.error:.1e} relative", "derived", "5 context nodes against 3")
        )
    if prediction.layer != "limit":
        found += _rests_on(parts)
        found += _local(machine, parts)
    return tuple(found)


def _stages(resolved: Resolved) -> list[Assumption]:
    """What runs in a call, and what the models beside the main one assume."""
    programs = resolved.scenario.programs
    said = ", ".join(f"{p.name} × {p.repeats}" for p in programs)
    source = resolved.graph.attrs.get("pipeline", {}).get("source")
    found = [Assumption("stages", said, "assumed", f"defaults of diffusers' {source}" if source else "")]
    around = resolved.graph.attrs.get("pipeline", {})
    if around and not around["decoder"]:
        found.append(Assumption("decoder", "left out: no configuration of this model's autoencoder is read"))
    sizes = resolved.scenario.program.workload
    if resolved.graph.attrs.get("length") is not None:
        found.append(Assumption("latent tokens", sizes.isl, "derived", "from --height, --width and --frames"))
    for stage in resolved.stages:
        program = stage.scenario.program
        if program.name != resolved.scenario.program.name:
            found.append(Assumption(program.name, stage.graph.name, "assumed", "bundled model"))
            found += [
                Assumption(f"{program.name}: {what}", value) for what, value in stage.graph.attrs.get("assumptions", ())
            ]
    return found


# How a fit knows a class (costs.calibration.model.DEPTHS), for readers.
_DEPTHS = {
    "known": "this device and stack were measured",
    "relative": "another device of its architecture was measured",
    "stranger": "neither this device nor its architecture was measured",
    "local": "your own points of this device",
    "": "no table has such kernels: one factor for their class, from whole training steps",
}


_WAYS = "algorithm of least time on this network, by the library's own tuning constants where it publishes them"


def _local(machine: Machine, parts: Parts) -> list[Assumption]:
    """The owner's own measurements that kernels' times rest on."""
    keys = {
        priced.cost.error_key for step, _, _ in parts.results for _, _, kernels in step.blocks for priced in kernels
    }
    used = {key[0] for key in keys if key[2] == "local"}
    found = []
    for own in machine.calibrations:
        if own.family in used:
            factors = ", ".join(f"{term} × {factor:.3g}" for term, factor in own.factors) or "nothing changed"
            said = f"{own.family} of {own.framework or 'no named library'}: {own.points} points, {factors}"
            found.append(Assumption("local calibration", said, "fitted", f"{own.source}, {own.date}"))
    return found


def _rests_on(parts: Parts) -> list[Assumption]:
    """Which fits the kernels' times come from, and what share of the time no fit covers."""
    shares: dict[tuple[str, str], float] = {}
    ways: dict[str, float] = {}
    notes: dict[tuple[str, str], Assumption] = {}
    for step, weight, nodes in parts.results:
        for _, _, kernels in step.blocks:
            for priced in kernels:
                seconds = float(weighted(priced.cost.time * priced.count, weight, nodes))
                key = (priced.cost.basis, priced.cost.error_key[2])
                if priced.cost.way and not priced.cost.basis:
                    ways[priced.cost.way] = ways.get(priced.cost.way, 0.0) + seconds
                    continue
                shares[key] = shares.get(key, 0.0) + seconds
                notes.update({(note.what, str(note.value)): note for note in priced.cost.notes})
    whole = sum(shares.values()) + sum(ways.values()) or 1.0
    found = [
        Assumption("calibration", f"{basis}: {share / whole:.0%} of kernel time", "fitted", _DEPTHS[depth])
        for (basis, depth), share in sorted(shares.items(), key=lambda item: -item[1])
        if basis and share > 0
    ]
    found += [
        Assumption("messages", f"{way}: {share / whole:.0%} of kernel time", "published", _WAYS)
        for way, share in sorted(ways.items(), key=lambda item: -item[1])
        if share > 0
    ]
    found += notes.values()
    bare = sum(share for (basis, _), share in shares.items() if not basis)
    if bare > 0:
        found.append(
            Assumption(
                "no calibration", f"{bare / whole:.0%} of kernel time", "assumed",
                "analytic, optimistic: the interval reaches up to 3.05 times these kernels",
            )
        )  # fmt: skip
    return found
