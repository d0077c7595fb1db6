"""Rows of the ``devices`` and ``models`` listings."""

from __future__ import annotations

from typing import Any

from .._foundation.errors import BadInput


def device_rows(pattern: str = "") -> list[dict[str, Any]]:
    """One row a machine: the figures people choose by, and the weakest grade among peak, bandwidth and capacity."""
    from .._foundation.provenance import weakest
    from ..hardware.catalogue import load_machine, machine_ids

    rows = []
    for machine_id in machine_ids():
        m = load_machine(machine_id)
        wanted = pattern.lower()
        if wanted and not any(wanted in text.lower() for text in (m.id, m.name, m.vendor, m.kind, m.architecture)):
            continue

        def peak(number_format: str, machine: Any = m) -> float | None:
            try:
                found, widened = machine.engine.peak("matmul", number_format)
            except BadInput:
                return None
            return float(found.flops) if not widened else None

        half = peak("bf16") or peak("fp16")
        main = f"tiers.{m.main.name}"
        grades = [m.facts[p].grade for p in (f"{main}.bandwidth", f"{main}.capacity_bytes") if p in m.facts]
        best = next(
            (p.grade for p in m.engine.peaks if p.unit == "matmul" and p.format in ("bf16", "fp16", "fp32")), None
        )
        rows.append(
            {
                "id": m.id, "name": m.name, "vendor": m.vendor, "kind": m.kind, "architecture": m.architecture,
                "year": m.release_year, "n_devices": m.n_devices, "memory": m.main.capacity_bytes,
                "bandwidth": m.main.bandwidth, "half_peak": half, "fp8_peak": peak("fp8"), "fp32_peak": peak("fp32"),
                "tdp": m.tdp_w, "usd_per_hour": m.price.usd_per_hour,
                "grade": weakest([*grades, *([best] if best else [])]),
            }
        )  # fmt: skip
    return rows


def model_rows(pattern: str = "") -> list[dict[str, Any]]:
    """One row a bundled model."""
    from ..frontends.source import load_graph
    from ..frontends.zoo import zoo_entry, zoo_ids
    from ..graph import stats

    rows = []
    for name in zoo_ids():
        if pattern.lower() not in name:
            continue
        entry = zoo_entry(name)
        graph = load_graph(name)
        rows.append(
            {
                "id": name, "hub": entry.get("hub") if entry else None, "family": graph.attrs.get("family"),
                "params": stats.parameters(graph), "active": stats.active_parameters(graph),
                "kv_bytes_per_token": stats.kv_bytes_per_token_short(graph) if graph.attrs.get("causal") else None,
                "layers": graph.attrs.get("n_layers"), "max_context": graph.attrs.get("max_context"),
                "grade": entry.get("grade") if entry else None,
            }
        )  # fmt: skip
    return rows
