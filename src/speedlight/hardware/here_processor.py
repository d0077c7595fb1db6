"""The processor this runs on as a machine: peaks from cores, vector width and clock, caches, memory."""

from __future__ import annotations

import platform
import re
from types import MappingProxyType

from .._foundation.errors import SpeedlightError
from .._foundation.provenance import Fact
from .here_reading import Cpu
from .machine import Engine, Machine, Peak, Tier

KIB, MIB = 2**10, 2**20

# Single-precision FLOP per clock and core (a multiply-add is 2), by what the flags and names allow to conclude.
_ARM_FP32 = {"0xd4f": 32, "0xd40": 32, "0xd84": 32, "0xd49": 16, "0xd0c": 16, "0xd8e": 16}  # V2, V1, V3, N2, N1, N3
_PER_CHANNEL = {"ddr4": 25.6e9, "ddr5": 38.4e9}  # DDR4-3200, DDR5-4800
_PER_CORE = 20e9  # what one core's outstanding misses can draw; caps small virtual machines


def _fp32_per_clock(cpu: Cpu) -> tuple[int, str]:
    """Single-precision FLOP per clock and core, and why."""
    flags = cpu.flags
    if "avx512f" in flags:
        # Zen 4 and Intel's client cores run AVX-512 through 256-bit pipes or have one unit; servers have two.
        wide = (
            cpu.family >= 26
            if cpu.vendor == "AuthenticAMD"
            else bool(re.search(r"xeon|i9-\d+x|platinum", cpu.name, re.I))
        )
        return (64, "AVX-512, two FMA units: 2 * 16 lanes * 2") if wide else (32, "AVX-512 at 2 * 8 lanes * 2 a clock")
    if "avx2" in flags and ("fma" in flags or cpu.vendor == "Apple"):
        return 32, "AVX2 with FMA: 2 * 8 lanes * 2"
    if "avx" in flags or "avx1.0" in flags:
        return 16, "AVX without FMA: 8 lanes of adds and 8 of multiplies"
    if cpu.vendor == "Apple":
        return 32, "NEON, four units: 4 * 4 lanes * 2"
    if "asimd" in flags or "neon" in flags:
        return _ARM_FP32.get(cpu.part, 16), f"NEON or SVE of part {cpu.part or 'unknown'}, 4 lanes * 2 a unit"
    if "sse2" in flags:
        return 8, "SSE2: 4 lanes of adds and 4 of multiplies"
    return 8, ""


def _wider_rates(cpu: Cpu) -> list[tuple[str, str, str, float, str]]:
    """Further rates relative to fp32: unit, format, accumulator, factor on the fp32 rate, why."""
    base, _ = _fp32_per_clock(cpu)
    flags, rates = cpu.flags, []
    if "amx_bf16" in flags:
        rates.append(("matmul", "bf16", "fp32", 2048 / base, "AMX: 2048 FLOP a clock and core"))
    elif "avx512_bf16" in flags:
        rates.append(("matmul", "bf16", "fp32", 2.0, "AVX512_BF16: twice fp32"))
    elif "bf16" in flags:
        rates.append(("matmul", "bf16", "fp32", 4.0, "BFMMLA: four times fp32"))
    if "amx_int8" in flags:
        rates.append(("matmul", "int8", "int32", 4096 / base, "AMX: 4096 operations a clock and core"))
    elif flags & {"avx512_vnni", "avx_vnni", "asimddp"}:
        rates.append(("matmul", "int8", "int32", 4.0, "dot-product instructions: four times fp32"))
    if "amx_fp16" in flags:
        rates.append(("matmul", "fp16", "fp32", 2048 / base, "AMX: 2048 FLOP a clock and core"))
    if flags & {"avx512_fp16", "asimdhp"}:
        rates.append(("vector", "fp16", "fp32", 2.0, "twice fp32"))
    return rates


def _dram_bandwidth(cpu: Cpu) -> tuple[float, str]:
    """A guess at the memory's bandwidth, bytes/s over all sockets, and how it was made."""
    known = known_device(cpu.name)
    if known is not None and known.kind == "cpu":
        per_socket, why = float(known.main.bandwidth), f"{known.id} in the catalogue"
    else:
        server = bool(re.search(r"xeon|epyc|platinum|neoverse|grace", cpu.name, re.I)) or cpu.cores > 24
        modern = bool(cpu.flags & {"amx_bf16", "avx512_bf16", "avx_vnni", "bf16"})
        channels, sort = (8 if server else 2), ("ddr5" if modern else "ddr4")
        per_socket, why = channels * _PER_CHANNEL[sort], f"{channels} channels of {sort.upper()} guessed"
    cap = cpu.cores * _PER_CORE
    if cap < per_socket * cpu.sockets:
        return cap, f"{cpu.cores} cores * 20 GB/s, below {why}; not measured"
    return per_socket * cpu.sockets, f"{why}, {cpu.sockets} socket(s); not measured"


def known_device(name: str) -> Machine | None:
    from .catalogue import load_machine

    try:
        return load_machine(name)
    except SpeedlightError:
        return None


def processor_machine(cpu: Cpu) -> Machine:
    facts: dict[str, Fact] = {}
    notes = list(cpu.notes)
    path = "engines.cores"
    facts[f"{path}.units"] = Fact(cpu.cores, "measured", "physical cores this process may use")
    facts[f"{path}.clock_hz"] = Fact(cpu.clock_hz, "measured" if cpu.clock_source else "assumed", cpu.clock_source)
    launch = 1e-6
    facts[f"{path}.launch_latency_s"] = Fact(launch, "assumed", "default of this kind of part")
    per_clock, why = _fp32_per_clock(cpu)
    if not why:
        notes.append("the vector width could not be read: 8 FLOP per clock and core are assumed")
    grade = "derived" if why and cpu.clock_source else "assumed"
    # An efficiency core has half the vector units of a performance core (Gracemont against Golden Cove).
    full_cores = cpu.cores - cpu.small_cores / 2
    fp32 = full_cores * per_clock * cpu.clock_hz
    if cpu.small_cores:
        why += f"; {cpu.small_cores} efficiency cores count half"
    rates = [("matmul", "fp32", "fp32", 1.0, why), ("vector", "fp32", "fp32", 1.0, why)]
    rates += [("vector", "fp64", "fp64", 0.5, "half of fp32"), *_wider_rates(cpu)]
    peaks = []
    for unit, number_format, accumulate, factor, reason in rates:
        flops = fp32 * factor
        source = f"{full_cores:g} cores * {per_clock * factor:g} FLOP/clk * {cpu.clock_hz / 1e9:g} GHz; {reason}"
        facts[f"{path}.peaks.{unit}.{number_format}.{accumulate}"] = Fact(flops, grade, source)  # type: ignore[arg-type]
        peaks.append(Peak(unit, number_format, accumulate, flops, None, grade))
    engine = Engine("cores", "cores", cpu.cores, cpu.clock_hz, tuple(peaks), ((16, 64), (32, 64)), launch)
    bandwidth, guess = _dram_bandwidth(cpu)
    facts["tiers.dram.capacity_bytes"] = Fact(
        cpu.memory_bytes, "measured" if cpu.memory_source else "assumed", cpu.memory_source
    )
    facts["tiers.dram.bandwidth"] = Fact(bandwidth, "assumed", guess)
    facts["tiers.dram.latency_s"] = Fact(1e-7, "assumed", "default of this kind of part")
    notes.append("the memory's bandwidth is a guess until `speedlight measure` has run")
    dram = Tier("dram", "main", cpu.memory_bytes, bandwidth, 1e-7, 64.0, resource="host_dram")
    return Machine(
        id="here",
        name=cpu.name,
        vendor=cpu.vendor.lower() or "unknown",
        kind="cpu",
        device_id="here",
        n_devices=1,
        engines=(engine,),
        tiers=(*_cache_tiers(cpu, per_clock, facts, notes), dram),
        architecture=platform.machine(),
        device_strings=(cpu.name,),
        facts=MappingProxyType(facts),
        notes=tuple(notes),
    )


def _cache_tiers(cpu: Cpu, per_clock: int, facts: dict[str, Fact], notes: list[str]) -> list[Tier]:
    """Caches, small before large; their bandwidth follows from bytes per clock and core of the vector width."""
    if not cpu.caches:
        notes.append("the caches could not be read: 32 KiB, 1 MiB and 2 MiB a core are assumed")
    load = 2 * per_clock  # bytes: two loads of a vector register a clock
    sizes = cpu.caches or {"l1": cpu.cores * 32.0 * KIB, "l2": cpu.cores * 1.0 * MIB, "llc": cpu.cores * 2.0 * MIB}
    tiers = []
    for name, width, latency in (("l1", load, 1.5e-9), ("l2", max(16, load // 2), 5e-9), ("llc", 16, 2.5e-8)):
        if name not in sizes:
            continue
        bandwidth = cpu.cores * width * cpu.clock_hz
        sort = "measured" if cpu.caches else "assumed"
        facts[f"tiers.{name}.capacity_bytes"] = Fact(sizes[name], sort, "the kernel's list of caches")  # type: ignore[arg-type]
        source = f"{cpu.cores} cores * {width} B/clk * {cpu.clock_hz / 1e9:g} GHz; not measured"
        facts[f"tiers.{name}.bandwidth"] = Fact(bandwidth, "assumed", source)
        facts[f"tiers.{name}.latency_s"] = Fact(latency, "assumed", "default of this kind of part")
        tiers.append(Tier(name, "cache", sizes[name], bandwidth, latency, 64.0, resource="cache"))
    return tiers
