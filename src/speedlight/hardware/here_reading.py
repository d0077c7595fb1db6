"""What the operating system tells of the processor and its memory: counts and sizes, and notes of what it does not."""

from __future__ import annotations

import math
import os
import platform
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

KIB, MIB = 2**10, 2**20


@dataclass
class Cpu:
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


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def read_cpu(root: Path) -> Cpu:
    cpu = Cpu()
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


def _from_cpuinfo(cpu: Cpu, text: str, root: Path) -> None:
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


def _read_memory(cpu: Cpu, root: Path) -> None:
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


def _from_cache_folders(cpu: Cpu, root: Path) -> None:
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


def _from_sysctl(cpu: Cpu) -> None:
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
