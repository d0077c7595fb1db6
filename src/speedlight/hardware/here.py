"""The machine this runs on, as far as the operating system and the driver tell.

Nothing is timed here: counts and sizes are what the kernel reports, peaks follow from them (core count, vector width,
clock), and what nobody reports, first of all the memory's bandwidth, is a guess that says so. ``speedlight measure``
replaces guesses by measurements. Whatever cannot be read is left to a default with a note: describing never fails.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import os
import platform
import re
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .._foundation.errors import SpeedlightError
from .._foundation.provenance import Fact
from .machine import Domain, Engine, Link, Machine, Peak, Tier

KIB, MIB = 2**10, 2**20

# Single-precision FLOP per clock and core (a multiply-add is 2), by what the flags and names allow to conclude.
_ARM_FP32 = {"0xd4f": 32, "0xd40": 32, "0xd84": 32, "0xd49": 16, "0xd0c": 16, "0xd8e": 16}  # V2, V1, V3, N2, N1, N3
_PER_CHANNEL = {"ddr4": 25.6e9, "ddr5": 38.4e9}  # DDR4-3200, DDR5-4800
_PER_CORE = 20e9  # what one core's outstanding misses can draw; caps small virtual machines


@dataclass
class _Cpu:
    """What could be read about the processor; ``notes`` tells what could not."""

    name: str = "unknown processor"
    vendor: str = ""
    family: int = 0
    part: str = ""
    flags: frozenset[str] = frozenset()
    cores: int = 1
    small_cores: int = 0
    sockets: int = 1
    clock_hz: float = 0.0
    clock_source: str = ""
    caches: dict[str, float] = field(default_factory=dict)
    memory_bytes: float = 0.0
    memory_source: str = ""
    notes: list[str] = field(default_factory=list)


def describe(root: str | Path = "/") -> Machine:
    """This machine: its NVIDIA GPUs where the driver's library finds any, else its processor.

    Args:
        root: where ``proc`` and ``sys`` are looked for (tests and containers mount them elsewhere).

    Returns:
        A machine with the id ``here``. Figures reported by the kernel or driver are graded measured, peaks derived,
        guesses assumed; ``notes`` says what could not be read. It never raises for what is missing.
    """
    cpu = _read_cpu(Path(root))
    processor = _cpu_machine(cpu)
    try:
        gpus = _gpu_machine(processor)
    except Exception as error:  # a driver may fail in ways no list of exceptions holds
        note = f"the GPU driver could not be asked ({type(error).__name__}: {error}); only the processor is described"
        return dataclasses.replace(processor, notes=(*processor.notes, note))
    return gpus or processor


# ---- reading


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _read_cpu(root: Path) -> _Cpu:
    cpu = _Cpu()
    cpuinfo = _text(root / "proc/cpuinfo")
    if cpuinfo:
        _from_cpuinfo(cpu, cpuinfo, root)
    elif platform.system() == "Darwin" and str(root) == "/":
        _from_sysctl(cpu)
    if not cpu.caches:
        _from_cache_folders(cpu, root)
    if not cpu.memory_bytes:
        _read_memory(cpu, root)
    if cpu.name == "unknown processor":
        cpu.name = platform.processor() or platform.machine() or cpu.name
        cpu.cores = max(1, (os.cpu_count() or 2) // 2)
        cpu.notes.append("the processor could not be asked for its cores: half of the logical ones are assumed")
    if not cpu.clock_hz:
        cpu.clock_hz, cpu.clock_source = 2.5e9, ""
        cpu.notes.append("no clock could be read: 2.5 GHz is assumed")
    return cpu


def _from_cpuinfo(cpu: _Cpu, text: str, root: Path) -> None:
    """``/proc/cpuinfo``: one block of ``key : value`` lines per logical processor."""
    blocks = []
    for block in re.split(r"\n\s*\n", text):
        pairs = (line.partition(":") for line in block.splitlines() if ":" in line)
        fields = {key.strip(): value.strip() for key, _, value in pairs}
        if "processor" in fields:
            blocks.append(fields)
    if not blocks:
        return
    first = blocks[0]
    cpu.vendor = first.get("vendor_id", first.get("CPU implementer", ""))
    cpu.part = first.get("CPU part", "")
    cpu.family = _integer(first.get("cpu family", ""))
    cpu.flags = frozenset((first.get("flags") or first.get("Features") or "").split())
    cpu.name = first.get("model name") or _text(root / "proc/device-tree/model").strip("\0 \n") or platform.machine()
    allowed = _allowed_processors(str(root) == "/")
    used = [b for b in blocks if not allowed or _integer(b["processor"]) in allowed] or blocks
    places = {(b.get("physical id", "0"), b.get("core id", b["processor"])) for b in used}
    cpu.sockets = max(1, len({b.get("physical id", "0") for b in used}))
    quota = _cpu_quota(root)
    cpu.cores = len(places)
    small = _processor_list(_text(root / "sys/devices/cpu_atom/cpus"))
    cpu.small_cores = sum(_integer(b["processor"]) in small for b in used)  # efficiency cores run one thread each
    if quota and quota < cpu.cores:
        cpu.notes.append(f"the control group allows {quota:g} of {cpu.cores} cores")
        cpu.cores = max(1, math.ceil(quota))
        cpu.small_cores = min(cpu.small_cores, cpu.cores)
    frequency = root / "sys/devices/system/cpu/cpu0/cpufreq"
    for name in ("cpuinfo_max_freq", "scaling_max_freq"):
        khz = _integer(_text(frequency / name))
        if khz:
            cpu.clock_hz, cpu.clock_source = khz * 1e3, f"cpufreq/{name}, which one busy core reaches"
            return
    mhz = [float(b["cpu MHz"]) for b in blocks if re.fullmatch(r"\d+(\.\d+)?", b.get("cpu MHz", ""))]
    named = re.search(r"@\s*([\d.]+)\s*GHz", cpu.name)
    if named:
        cpu.clock_hz, cpu.clock_source = float(named[1]) * 1e9, "the processor's name (its base clock)"
    elif mhz and max(mhz) > 0:
        cpu.clock_hz, cpu.clock_source = max(mhz) * 1e6, "the fastest core's clock in /proc/cpuinfo just now"


def _allowed_processors(real: bool) -> set[int]:
    if real and hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set()


def _processor_list(text: str) -> set[int]:
    """The kernel's lists of processors: ``0-3,8``."""
    spans = [span.split("-") for span in text.strip().split(",") if re.fullmatch(r"\d{1,6}(-\d{1,6})?", span)]
    return {i for span in spans for i in range(int(span[0]), int(span[-1]) + 1)}


def _integer(text: str) -> int:
    match = re.match(r"\s*(\d+)", text)
    return int(match[1]) if match else 0


def _groups(root: Path) -> list[Path]:
    """Control-group folders from this process's own up to the top (version 2 first, then 1)."""
    base = root / "sys/fs/cgroup"
    folders = [base, base / "memory", base / "cpu"]
    for line in _text(root / "proc/self/cgroup").splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        for part in ("", *controllers.split(",")):
            inner = base / part if part else base
            for name in [p for p in path.split("/") if p and p != ".."]:
                inner = inner / name
                folders.append(inner)
    return folders


def _cpu_quota(root: Path) -> float:
    """Processors the control group allows, 0 where it does not limit them."""
    quotas = []
    for folder in _groups(root):
        words = _text(folder / "cpu.max").split()
        if len(words) != 2:
            words = [_text(folder / "cpu.cfs_quota_us").strip(), _text(folder / "cpu.cfs_period_us").strip()]
        if all(re.fullmatch(r"\d+", w) for w in words) and int(words[1]):
            quotas.append(int(words[0]) / int(words[1]))
    return min((q for q in quotas if q > 0), default=0.0)


def _read_memory(cpu: _Cpu, root: Path) -> None:
    match = re.search(r"MemTotal:\s*(\d+)\s*kB", _text(root / "proc/meminfo"))
    if match:
        cpu.memory_bytes, cpu.memory_source = float(match[1]) * 1024, "MemTotal in /proc/meminfo"
    elif str(root) == "/":
        try:
            cpu.memory_bytes = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
            cpu.memory_source = "sysconf"
        except (AttributeError, ValueError, OSError):
            cpu.memory_bytes = 0.0
    if cpu.memory_bytes <= 0:
        cpu.memory_bytes, cpu.memory_source = 16e9, ""
        cpu.notes.append("the memory's size could not be read: 16 GB is assumed")
    for folder in _groups(root):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _integer(_text(folder / name))
            if 0 < limit < cpu.memory_bytes:
                cpu.memory_bytes, cpu.memory_source = float(limit), f"the control group's {name}"


def _from_cache_folders(cpu: _Cpu, root: Path) -> None:
    """``/sys/devices/system/cpu/cpu*/cache``: every cache once, however many processors share it."""
    seen: set[tuple[str, str, str]] = set()
    for folder in sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*/cache/index[0-9]*")):
        level, sort = _text(folder / "level").strip(), _text(folder / "type").strip()
        size = re.fullmatch(r"(\d+)([KMG]?)", _text(folder / "size").strip())
        shared = _text(folder / "shared_cpu_list").strip() or folder.parent.parent.name
        if sort == "Instruction" or not size or (level, sort, shared) in seen:
            continue
        seen.add((level, sort, shared))
        name = {"1": "l1", "2": "l2"}.get(level, "llc")
        scale = {"": 1, "K": KIB, "M": MIB, "G": KIB * MIB}[size[2]]
        cpu.caches[name] = cpu.caches.get(name, 0.0) + int(size[1]) * scale


def _from_sysctl(cpu: _Cpu) -> None:
    """macOS: the same facts from ``sysctl``."""

    def ask(name: str) -> str:
        try:
            done = subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, timeout=5, check=False)
        except (OSError, subprocess.SubprocessError):
            return ""
        return done.stdout.strip()

    cpu.name = ask("machdep.cpu.brand_string") or cpu.name
    cpu.cores = _integer(ask("hw.physicalcpu")) or 1
    cpu.memory_bytes, cpu.memory_source = float(_integer(ask("hw.memsize"))), "sysctl hw.memsize"
    hertz = _integer(ask("hw.cpufrequency_max"))
    if hertz:
        cpu.clock_hz, cpu.clock_source = float(hertz), "sysctl hw.cpufrequency_max"
    if cpu.name.startswith("Apple"):
        cpu.vendor, cpu.flags = "Apple", frozenset({"asimd", "asimdhp"})
        cpu.clock_hz, cpu.clock_source = cpu.clock_hz or 3.2e9, ""
        cpu.notes.append(
            "the GPU of this chip is not described: name its catalogue machine (`speedlight devices apple`)"
        )
    else:
        words = (ask("machdep.cpu.features") + " " + ask("machdep.cpu.leaf7_features")).lower().split()
        cpu.flags = frozenset({"avx512f" if w == "avx512f" else w for w in words})
    for name, key, count in (
        ("l1", "hw.l1dcachesize", cpu.cores),
        ("l2", "hw.l2cachesize", 1),
        ("llc", "hw.l3cachesize", 1),
    ):
        size = _integer(ask(key))
        if size:
            cpu.caches[name] = float(size * count)


# ---- the processor as a machine


def _fp32_per_clock(cpu: _Cpu) -> tuple[int, str]:
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


def _wider_rates(cpu: _Cpu) -> list[tuple[str, str, str, float, str]]:
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


def _dram_bandwidth(cpu: _Cpu) -> tuple[float, str]:
    """A guess at the memory's bandwidth, bytes/s over all sockets, and how it was made."""
    known = _catalogue(cpu.name)
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


def _catalogue(name: str) -> Machine | None:
    from .catalogue import load_machine

    try:
        return load_machine(name)
    except SpeedlightError:
        return None


def _cpu_machine(cpu: _Cpu) -> Machine:
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


def _cache_tiers(cpu: _Cpu, per_clock: int, facts: dict[str, Fact], notes: list[str]) -> list[Tier]:
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


# ---- NVIDIA GPUs


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


def _gpu_machine(processor: Machine) -> Machine | None:
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
    known = _catalogue(chosen)
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
