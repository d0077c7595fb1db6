"""The NVIDIA GPUs of this machine, as the driver's library (NVML) lists them."""

from __future__ import annotations

import dataclasses
import importlib
import os
import re
from collections import Counter
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from .._foundation.provenance import Fact
from .here_processor import known_device
from .machine import Domain, Engine, Link, Machine, Peak, Tier

MIB = 2**20


@dataclass
class _Gpu:
    name: str
    memory_bytes: float = 0.0
    power_limit_w: float = 0.0
    max_clock_hz: float = 0.0
    memory_clock_hz: float = 0.0
    bus_bits: int = 0
    lanes: int = 0
    nvlinks: int = 0


def gpu_machine(processor: Machine) -> Machine | None:
    """The GPUs NVML lists, as one machine with the processor's memory as host tier; None without a driver."""
    try:
        pynvml = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        gpus = _read_gpus(pynvml)
    finally:
        pynvml.nvmlShutdown()
    if not gpus:
        return None
    notes = []
    sorts = Counter(g.name for g in gpus)
    chosen = sorts.most_common(1)[0][0]
    if len(sorts) > 1:
        left = ", ".join(f"{n}x {s}" for s, n in sorts.items() if s != chosen)
        notes.append(f"GPUs of several sorts: only the {sorts[chosen]} {chosen} are described, not {left}")
    same = [g for g in gpus if g.name == chosen]
    first = same[0]
    known = known_device(chosen)
    if known is None or known.kind == "cpu" or known.n_devices != 1:
        known = _generic_gpu(first)
        notes.append(
            f"{chosen!r} is not in the catalogue: its tensor rates are unknown, vector lanes stand in for them"
        )
    return _as_here(known, same, processor, notes)


def _read_gpus(nvml: Any) -> list[_Gpu]:
    """What NVML tells of each GPU; a question a card does not answer leaves the field at 0."""

    def ask(function: str, *arguments: Any) -> Any:
        try:
            return getattr(nvml, function)(*arguments)
        except (nvml.NVMLError, AttributeError, TypeError):
            return None

    gpus = []
    for i in range(ask("nvmlDeviceGetCount") or 0):
        handle = ask("nvmlDeviceGetHandleByIndex", i)
        name = ask("nvmlDeviceGetName", handle)
        if handle is None or not name:
            continue
        gpu = _Gpu(name.decode() if isinstance(name, bytes) else str(name))
        gpu.memory_bytes = float(getattr(ask("nvmlDeviceGetMemoryInfo", handle), "total", 0) or 0)
        gpu.power_limit_w = float(ask("nvmlDeviceGetPowerManagementLimit", handle) or 0) * 1e-3
        gpu.max_clock_hz = float(ask("nvmlDeviceGetMaxClockInfo", handle, getattr(nvml, "NVML_CLOCK_SM", 1)) or 0) * 1e6
        gpu.memory_clock_hz = (
            float(ask("nvmlDeviceGetMaxClockInfo", handle, getattr(nvml, "NVML_CLOCK_MEM", 2)) or 0) * 1e6
        )
        gpu.bus_bits = int(ask("nvmlDeviceGetMemoryBusWidth", handle) or 0)
        gpu.lanes = int(ask("nvmlDeviceGetNumGpuCores", handle) or 0)
        gpu.nvlinks = sum(bool(ask("nvmlDeviceGetNvLinkState", handle, link)) for link in range(18))
        gpus.append(gpu)
    return _visible(gpus)


def _visible(gpus: list[_Gpu]) -> list[_Gpu]:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves; entries that are no index (UUIDs) count as one each."""
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return gpus
    chosen: list[_Gpu] = []
    for word in (w.strip() for w in wanted.split(",")):
        if not re.fullmatch(r"\d+", word):
            if not word or word.startswith("-"):
                break  # CUDA stops at the first entry it cannot use
            chosen += gpus[len(chosen) : len(chosen) + 1]
        elif int(word) < len(gpus):
            chosen.append(gpus[int(word)])
        else:
            break
    return chosen


def _generic_gpu(gpu: _Gpu) -> Machine:
    """A GPU the catalogue does not know: vector rates from its lanes and clock, bandwidth from bus and memory clock."""
    facts: dict[str, Fact] = {}
    lanes, clock = gpu.lanes or 2048, gpu.max_clock_hz or 1.5e9
    units = max(1, lanes // 128)
    flops = 2.0 * lanes * clock
    good = "derived" if gpu.lanes and gpu.max_clock_hz else "assumed"
    facts["engines.sm.units"] = Fact(units, "assumed", "128 lanes an SM")
    facts["engines.sm.clock_hz"] = Fact(clock, "measured" if gpu.max_clock_hz else "assumed", "NVML's maximum clock")
    facts["engines.sm.peaks.vector.fp32.fp32"] = Fact(flops, good, f"{lanes} lanes * 2 * {clock / 1e9:g} GHz")  # type: ignore[arg-type]
    bandwidth = gpu.bus_bits / 8 * 2 * gpu.memory_clock_hz or 300e9
    told = "derived" if gpu.bus_bits and gpu.memory_clock_hz else "assumed"
    facts["tiers.vram.bandwidth"] = Fact(bandwidth, told, "bus width * 2 * memory clock / 8 (NVML)")  # type: ignore[arg-type]
    capacity = gpu.memory_bytes or 8e9
    facts["tiers.vram.capacity_bytes"] = Fact(capacity, "assumed", "not reported")
    facts["tiers.l2.capacity_bytes"] = Fact(4.0 * MIB, "assumed", "not reported")
    facts["tiers.l2.bandwidth"] = Fact(units * 32 * clock, "assumed", f"{units} SMs * 32 B/clk * {clock / 1e9:g} GHz")
    facts["links.pcie.bandwidth"] = Fact(31.5e9, "assumed", "PCIe 4.0 x16, per direction")
    engine = Engine("sm", "simt", units, clock, (Peak("vector", "fp32", "fp32", flops, None, good),), (), 2e-6)
    l2 = Tier("l2", "cache", 4.0 * MIB, units * 32 * clock, 2e-7, 32.0, resource="cache")
    vram = Tier("vram", "main", capacity, bandwidth, 6e-7, 64.0, resource="hbm")
    return Machine(
        "here", gpu.name, "nvidia", "gpu", "here", 1, (engine,), (l2, vram), (Link("pcie", "host", 31.5e9, 2e-6),),
        device_strings=(gpu.name,), facts=MappingProxyType(facts),
    )  # fmt: skip


def _as_here(known: Machine, gpus: list[_Gpu], processor: Machine, notes: list[str]) -> Machine:
    """The catalogue's device with what this machine reports: capacity, power limit, number and links."""
    first, facts = gpus[0], dict(known.facts)
    tiers = known.tiers
    main = known.main.name
    if first.memory_bytes:
        capacity = min(g.memory_bytes for g in gpus)
        tiers = tuple(dataclasses.replace(t, capacity_bytes=capacity) if t.name == main else t for t in tiers)
        facts[f"tiers.{main}.capacity_bytes"] = Fact(capacity, "measured", "NVML memory info")
    tdp = known.tdp_w
    if first.power_limit_w:
        if tdp is not None and first.power_limit_w < 0.98 * float(tdp):
            notes.append(f"power limit {first.power_limit_w:.0f} W, below the data sheet's {float(tdp):.0f} W")
        tdp = first.power_limit_w
        facts["tdp_w"] = Fact(tdp, "measured", "NVML power limit")
    if first.max_clock_hz:
        # Peaks stay at the clock the catalogue states them for: vendors do not state tensor peaks at the boost clock.
        facts[f"engines.{known.engine.name}.max_clock_hz"] = Fact(
            first.max_clock_hz, "measured", "NVML's maximum clock"
        )
    domains: tuple[Domain, ...] = ()
    if len(gpus) > 1:
        links = {k.role: k for k in known.links}
        link = links.get("scale_up") if all(g.nvlinks for g in gpus) else None
        topology = "switch" if link else "tree"
        link = link or links.get("host") or Link("pcie", "host", 15.75e9, 2e-6)
        domains = (Domain(link.name, topology, len(gpus), link.bandwidth, link.latency_s),)
        facts[f"domains.{link.name}.bandwidth"] = Fact(link.bandwidth, "assumed", "the catalogue's link; not measured")
    host = processor.main
    if known.kind != "soc":
        tiers = (*tiers, dataclasses.replace(host, name="host", role="host"))
        for figure in ("capacity_bytes", "bandwidth", "latency_s"):
            facts[f"tiers.host.{figure}"] = processor.facts[f"tiers.dram.{figure}"]
    return dataclasses.replace(
        known,
        id="here",
        n_devices=len(gpus),
        tiers=tiers,
        domains=domains,
        tdp_w=tdp,
        facts=MappingProxyType(facts),
        notes=(*known.notes, *notes),
    )
