"""Under which circumstances something was measured: versions, threads, clocks, heat, and who else was running."""

from __future__ import annotations

import contextlib
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "numpy", "numba")


def circumstances(device: str = "cpu") -> dict[str, Any]:
    """What does not change while measuring: date, system, versions, threads, the device's name and driver."""
    found: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "system": platform.platform(),
        "python": platform.python_version(), "device": device,
        "versions": {name: _version(name) for name in PACKAGES}, "processors": len(_allowed()),
    }  # fmt: skip
    if device != "cpu":
        import torch

        kind = torch.device(device).type
        if kind == "cuda":
            found |= {"name": torch.cuda.get_device_name(), "runtime": torch.version.cuda or torch.version.hip or ""}
    return found


def moment() -> dict[str, float]:
    """What changes: load (runnable processes a processor), clock in Hz and temperature in °C where the kernel tells."""
    found: dict[str, float] = {}
    with contextlib.suppress(OSError):
        found["load"] = os.getloadavg()[0] / max(len(_allowed()), 1)
    clocks = [_number(p) for p in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq")]
    known = [c for c in clocks if c]
    if known:
        found["clock_hz"] = 1e3 * sum(known) / len(known)
    heat = [_number(p) for p in Path("/sys/class/thermal").glob("thermal_zone*/temp")]
    warm = [h for h in heat if h]
    if warm:
        found["temperature_c"] = max(warm) / 1e3
    stolen = _stolen()
    if stolen is not None:
        found["stolen_s"] = stolen
    return found


def _stolen() -> float | None:
    """Seconds a hypervisor gave this machine's processors to others, since it started."""
    try:
        words = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
        return float(words[8]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None


def _allowed() -> set[int]:
    try:
        return os.sched_getaffinity(0)
    except AttributeError:
        return set(range(os.cpu_count() or 1))


def _number(path: Path) -> float:
    try:
        return float(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0.0


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def busy(before: dict[str, float], after: dict[str, float], seconds: float) -> str:
    """A word of warning where others took time from a measurement, else ""."""
    stolen = after.get("stolen_s", 0.0) - before.get("stolen_s", 0.0)
    if stolen > 0.05 * seconds:
        return f"a hypervisor took {stolen:.2g} s of {seconds:.2g} s"
    if before.get("load", 0.0) > 1.5:
        return f"{before['load']:.1f} processes a processor were running already"
    return ""
