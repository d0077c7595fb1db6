"""Describing this machine: from fake /proc and /sys trees, a fake driver, and the machine the test runs on."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from speedlight.hardware import here_reading
from speedlight.hardware.catalogue import load_machine
from speedlight.hardware.here import describe
from speedlight.hardware.machine import Machine

GIB = 2**30


@pytest.fixture(autouse=True)
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU unless a test brings its own driver."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def cpuinfo(
    name: str, cores: int, threads: int = 1, flags: str = "sse2 avx2 fma", sockets: int = 1, **fields: str
) -> str:
    blocks = []
    for socket in range(sockets):
        for core in range(cores * threads):
            lines = {
                "processor": len(blocks),
                "vendor_id": "GenuineIntel",
                "cpu family": 6,
                "model name": name,
                **fields,
            }
            lines |= {"physical id": socket, "core id": core % cores, "flags": flags}
            blocks.append("\n".join(f"{k}\t: {v}" for k, v in lines.items()))
    return "\n\n".join(blocks) + "\n"


def cache(cpu: int, index: int, level: int, sort: str, size: str, shared: str) -> dict[str, str]:
    base = f"sys/devices/system/cpu/cpu{cpu}/cache/index{index}"
    return {
        f"{base}/level": f"{level}\n", f"{base}/type": f"{sort}\n", f"{base}/size": f"{size}\n", f"{base}/shared_cpu_list": f"{shared}\n",
    }  # fmt: skip


def check(machine: Machine) -> None:
    """What every description must be, however little could be read."""
    assert machine.id == "here"
    assert machine.engine.units >= 1
    assert all(p.flops > 0 for p in machine.engine.peaks)
    assert machine.main.capacity_bytes > 0
    assert machine.main.bandwidth > 0
    for path, fact in machine.facts.items():
        assert fact.grade == "assumed" or fact.source, path
    assert machine.facts[f"tiers.{machine.main.name}.bandwidth"].grade == "assumed" or machine.kind != "cpu"


def test_this_machine() -> None:
    machine = describe()
    check(machine)
    again = load_machine("here")
    assert (again.id, again.main.capacity_bytes, again.engine.units) == (
        "here",
        machine.main.capacity_bytes,
        machine.engine.units,
    )
    assert any("guess" in note for note in machine.notes)


def test_a_workstation(tmp_path: Path) -> None:
    files = {
        "proc/cpuinfo": cpuinfo(
            "Intel(R) Core(TM) i9-10940X CPU @ 3.30GHz", 14, 2, "sse2 avx2 fma avx512f avx512_vnni"
        ),
        "proc/meminfo": "MemTotal:       65536000 kB\nMemFree: 1 kB\n",
        "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "4600000\n",
    }
    for core in range(14):
        shared = f"{core},{core + 14}"
        for thread in (core, core + 14):
            files |= cache(thread, 0, 1, "Data", "32K", shared) | cache(thread, 1, 1, "Instruction", "32K", shared)
            files |= cache(thread, 2, 2, "Unified", "1024K", shared) | cache(thread, 3, 3, "Unified", "19712K", "0-27")
    machine = describe(put(tmp_path, files))
    check(machine)
    assert machine.engine.units == 14
    assert machine.engine.peak("matmul", "fp32")[0].flops == pytest.approx(14 * 64 * 4.6e9)
    assert machine.engine.peak("matmul", "int8")[0].flops == pytest.approx(14 * 256 * 4.6e9)
    assert machine.engine.peak("vector", "fp64")[0].flops == pytest.approx(14 * 32 * 4.6e9)
    assert [t.name for t in machine.tiers] == ["l1", "l2", "llc", "dram"]
    assert machine.tier("l1").capacity_bytes == 14 * 32 * 1024
    assert machine.tier("l2").capacity_bytes == 14 * 2**20
    assert machine.tier("llc").capacity_bytes == 19712 * 1024
    assert machine.main.capacity_bytes == 65536000 * 1024
    assert machine.main.bandwidth == load_machine("i9-10940x").main.bandwidth  # the catalogue knows this part
    assert machine.facts["engines.cores.units"].grade == "measured"
    assert machine.facts["engines.cores.peaks.matmul.fp32.fp32"].grade == "derived"
    assert machine.facts["tiers.dram.bandwidth"].grade == "assumed"
    assert machine.facts["tiers.l2.bandwidth"].grade == "assumed"


@pytest.mark.parametrize(
    ("name", "fields", "flags", "per_clock"),
    [
        ("Intel(R) Xeon(R) Platinum 8480+", {}, "avx2 fma avx512f", 64),
        ("11th Gen Intel(R) Core(TM) i7-1185G7 @ 3.00GHz", {}, "avx2 fma avx512f", 32),
        ("AMD EPYC 9654 96-Core Processor", {"vendor_id": "AuthenticAMD", "cpu family": "25"}, "avx2 fma avx512f", 32),
        ("AMD EPYC 9755 128-Core Processor", {"vendor_id": "AuthenticAMD", "cpu family": "26"}, "avx2 fma avx512f", 64),
        ("AMD EPYC 7763 64-Core Processor", {"vendor_id": "AuthenticAMD", "cpu family": "25"}, "avx2 fma", 32),
        ("Intel(R) Core(TM) i7-2600 CPU @ 3.40GHz", {}, "sse2 avx", 16),
        ("Intel(R) Core(TM)2 Duo CPU", {}, "sse2", 8),
    ],
)
def test_vector_widths(tmp_path: Path, name: str, fields: dict[str, str], flags: str, per_clock: int) -> None:
    machine = describe(
        put(tmp_path, {"proc/cpuinfo": cpuinfo(name, 4, flags=flags, **{"cpu MHz": "2000.000"} | fields)})
    )
    check(machine)
    clock = machine.engine.clock_hz
    assert machine.engine.peak("vector", "fp32")[0].flops == pytest.approx(4 * per_clock * clock)


def test_matrix_units_and_half_precision(tmp_path: Path) -> None:
    flags = "avx2 fma avx512f avx512_fp16 avx512_bf16 amx_tile amx_bf16 amx_int8"
    text = cpuinfo("Intel(R) Xeon(R) Platinum 8480+", 56, 2, flags, sockets=2)
    engine = describe(
        put(tmp_path, {"proc/cpuinfo": text, "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "3800000"})
    ).engine
    assert engine.units == 112
    assert engine.peak("matmul", "bf16")[0].flops == pytest.approx(112 * 2048 * 3.8e9)
    assert engine.peak("matmul", "int8")[0].flops == pytest.approx(112 * 4096 * 3.8e9)
    assert engine.peak("vector", "fp16")[0].flops == pytest.approx(112 * 128 * 3.8e9)


def test_efficiency_cores_count_half(tmp_path: Path) -> None:
    text = cpuinfo("12th Gen Intel(R) Core(TM) i7-12700H", 14, flags="avx2 fma avx_vnni", **{"cpu MHz": "2300.000"})
    machine = describe(put(tmp_path, {"proc/cpuinfo": text, "sys/devices/cpu_atom/cpus": "6-13\n"}))
    assert machine.engine.units == 14
    assert machine.engine.peak("vector", "fp32")[0].flops == pytest.approx((6 + 8 / 2) * 32 * 2.3e9)
    assert machine.engine.peak("matmul", "int8")[0].flops == pytest.approx((6 + 8 / 2) * 128 * 2.3e9)


def test_an_arm_server(tmp_path: Path) -> None:
    block = "processor\t: {}\nBogoMIPS\t: 2000.00\nFeatures\t: fp asimd asimdhp asimddp sve2 bf16 i8mm\nCPU implementer\t: 0x41\nCPU part\t: 0xd4f\n"
    machine = describe(put(tmp_path, {"proc/cpuinfo": "\n".join(block.format(i) for i in range(72))}))
    check(machine)
    assert machine.engine.units == 72
    assert machine.engine.peak("vector", "fp32")[0].flops == pytest.approx(72 * 32 * machine.engine.clock_hz)
    assert machine.engine.peak("matmul", "bf16")[0].flops == pytest.approx(72 * 128 * machine.engine.clock_hz)
    assert any("clock" in note for note in machine.notes)
    assert machine.engine.peak("vector", "fp32")[0].grade == "assumed"  # the clock is


def test_control_groups_limit_cores_and_memory(tmp_path: Path) -> None:
    files = {
        "proc/cpuinfo": cpuinfo("AMD EPYC 7763 64-Core Processor", 64),
        "proc/meminfo": "MemTotal: 528000000 kB\n",
        "proc/self/cgroup": "0::/kubepods/pod1\n",
        "sys/fs/cgroup/cpu.max": "max 100000\n",
        "sys/fs/cgroup/kubepods/pod1/cpu.max": "350000 100000\n",
        "sys/fs/cgroup/kubepods/memory.max": "max\n",
        "sys/fs/cgroup/kubepods/pod1/memory.max": f"{8 * GIB}\n",
    }
    machine = describe(put(tmp_path, files))
    check(machine)
    assert machine.engine.units == 4
    assert machine.main.capacity_bytes == 8 * GIB
    assert any("control group" in note for note in machine.notes)
    assert machine.main.bandwidth == 4 * 20e9  # four cores cannot draw the socket's bandwidth


def test_version_1_control_groups(tmp_path: Path) -> None:
    files = {
        "proc/cpuinfo": cpuinfo("x", 8),
        "proc/meminfo": "MemTotal: 32000000 kB\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{4 * GIB}\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    }
    machine = describe(put(tmp_path, files))
    assert machine.engine.units == 2
    assert machine.main.capacity_bytes == 4 * GIB


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"proc/cpuinfo": ""},
        {"proc/cpuinfo": "gibberish without a colon"},
        {"proc/cpuinfo": "processor : zero\nflags :\ncpu MHz : fast\n"},
        {"proc/cpuinfo": "processor\t: 0\nmodel name\t: \n", "proc/meminfo": "MemTotal: lots"},
        {"proc/meminfo": "MemTotal: 0 kB\n", "sys/fs/cgroup/memory.max": "-5\n", "sys/fs/cgroup/cpu.max": "0 0\n"},
        {"sys/devices/system/cpu/cpu0/cache/index0/size": "huge", "sys/devices/system/cpu/cpu0/cache/index1/level": "x"},
        {"proc/self/cgroup": "::\n:::\nx\n0::/../../..\n"},
    ],
)  # fmt: skip
def test_missing_and_odd_files_never_raise(tmp_path: Path, files: dict[str, str]) -> None:
    machine = describe(put(tmp_path, files))
    check(machine)
    assert len(machine.notes) >= 2  # it says what it could not read


# ---- GPUs


class NVMLError(Exception):
    pass


def driver(
    names: list[str], *, memory: float = 85e9, power: float = 700e3, nvlink: bool = True, **changes: Any
) -> SimpleNamespace:
    """A stand-in for pynvml; ``changes`` replaces functions."""

    def link_state(handle: int, link: int) -> int:
        if not nvlink or link > 3:
            raise NVMLError("not supported")
        return 1

    functions: dict[str, Any] = {
        "NVMLError": NVMLError, "NVML_CLOCK_SM": 1, "NVML_CLOCK_MEM": 2,
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: len(names),
        "nvmlDeviceGetHandleByIndex": lambda i: i,
        "nvmlDeviceGetName": lambda h: names[h].encode(),
        "nvmlDeviceGetMemoryInfo": lambda h: SimpleNamespace(total=memory),
        "nvmlDeviceGetPowerManagementLimit": lambda h: power,
        "nvmlDeviceGetMaxClockInfo": lambda h, which: 1980 if which == 1 else 2619,
        "nvmlDeviceGetMemoryBusWidth": lambda h: 5120,
        "nvmlDeviceGetNumGpuCores": lambda h: 16896,
        "nvmlDeviceGetNvLinkState": link_state,
    }  # fmt: skip
    return SimpleNamespace(**functions | changes)


def with_driver(monkeypatch: pytest.MonkeyPatch, nvml: SimpleNamespace) -> Machine:
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    return describe()


def test_eight_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = with_driver(monkeypatch, driver(["NVIDIA H100 80GB HBM3"] * 8))
    known = load_machine("h100-sxm-80gb")
    assert (machine.id, machine.device_id, machine.n_devices) == ("here", "h100-sxm-80gb", 8)
    assert machine.engine == known.engine
    assert machine.main.capacity_bytes == 85e9
    assert machine.facts["tiers.hbm.capacity_bytes"].grade == "measured"
    assert (machine.domains[0].name, machine.domains[0].size, machine.domains[0].bandwidth) == ("nvlink", 8, 450e9)
    assert machine.tdp_w == 700
    assert machine.tier("host").role == "host"
    assert machine.facts["tiers.host.bandwidth"].grade == "assumed"


def test_gpus_without_nvlink_meet_over_pcie(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = with_driver(monkeypatch, driver(["NVIDIA GeForce RTX 4090"] * 2, nvlink=False, memory=24e9, power=450e3))
    assert (machine.domains[0].name, machine.domains[0].size) == ("pcie", 2)
    single = with_driver(monkeypatch, driver(["NVIDIA GeForce RTX 4090"], memory=24e9))
    assert (single.n_devices, single.domains) == (1, ())


def test_a_power_limit_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = with_driver(monkeypatch, driver(["NVIDIA H100 80GB HBM3"], power=500e3))
    assert machine.tdp_w == 500
    assert any("500 W" in n and "700 W" in n for n in machine.notes)


def test_gpus_of_several_sorts(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = with_driver(monkeypatch, driver(["NVIDIA L4", "NVIDIA A10", "NVIDIA L4"], memory=24e9))
    assert (machine.device_id, machine.n_devices) == ("l4", 2)
    assert any("NVIDIA A10" in n for n in machine.notes)


def test_a_gpu_no_catalogue_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = with_driver(monkeypatch, driver(["NVIDIA Imaginary 9000"] * 2))
    assert (machine.id, machine.n_devices, machine.name) == ("here", 2, "NVIDIA Imaginary 9000")
    assert machine.engine.peak("matmul", "bf16")[0].flops == pytest.approx(2 * 16896 * 1.98e9)
    assert machine.main.bandwidth == pytest.approx(5120 / 8 * 2 * 2619e6)
    assert any("not in the catalogue" in n for n in machine.notes)


def test_a_driver_that_answers_nothing_beyond_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise NVMLError("not supported")

    silent = {
        f"nvmlDeviceGet{f}": refuse
        for f in ("MemoryInfo", "PowerManagementLimit", "MaxClockInfo", "MemoryBusWidth", "NumGpuCores", "NvLinkState")
    }
    spark = with_driver(monkeypatch, driver(["NVIDIA GB10"], **silent))
    assert spark.main.capacity_bytes == 128e9  # unified memory: NVML does not say, the catalogue does
    assert [t.role for t in spark.tiers].count("host") == 0
    odd = with_driver(monkeypatch, driver(["NVIDIA Imaginary 9000"], **silent))
    assert odd.main.capacity_bytes > 0
    assert odd.engine.peak("vector", "fp32")[0].grade == "assumed"


@pytest.mark.parametrize("visible", ["", "-1", "0", "1,0", "7", "0,7,1", "GPU-abc,GPU-def", "GPU-abc,GPU-def,GPU-ghi"])
def test_visible_devices(monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    count = {"": 0, "-1": 0, "0": 1, "1,0": 2, "7": 0, "0,7,1": 1, "GPU-abc,GPU-def": 2, "GPU-abc,GPU-def,GPU-ghi": 2}[
        visible
    ]
    machine = with_driver(monkeypatch, driver(["NVIDIA L4"] * 2, memory=24e9))
    assert machine.n_devices == max(1, count)
    assert (machine.device_id == "l4") == (count > 0)


def test_broken_drivers_leave_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_driver() -> None:
        raise NVMLError("driver not loaded")

    def crash() -> int:
        raise OSError("libnvidia-ml.so is truncated")

    assert with_driver(monkeypatch, driver(["x"], nvmlInit=no_driver)).kind == "cpu"
    assert with_driver(monkeypatch, driver([])).kind == "cpu"
    machine = with_driver(monkeypatch, driver(["x"], nvmlInit=crash))
    assert machine.kind == "cpu"
    assert any("truncated" in n for n in machine.notes)


# ---- macOS


def test_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        "machdep.cpu.brand_string": "Apple M3 Max", "hw.physicalcpu": "16", "hw.memsize": str(128 * GIB),
        "hw.l1dcachesize": "65536", "hw.l2cachesize": "4194304",
    }  # fmt: skip

    def run(command: list[str], **_: object) -> SimpleNamespace:
        return SimpleNamespace(stdout=answers.get(command[-1], "") + "\n")

    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(here_reading, "_text", lambda path: "")
    monkeypatch.setattr(subprocess, "run", run)
    machine = describe()
    check(machine)
    assert (machine.name, machine.engine.units) == ("Apple M3 Max", 16)
    assert machine.main.capacity_bytes == 128 * GIB
    assert any("GPU" in n for n in machine.notes)
    assert machine.engine.peak("vector", "fp32")[0].flops == pytest.approx(16 * 32 * 3.2e9)


def test_a_mac_without_sysctl(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object, **__: object) -> None:
        raise FileNotFoundError("sysctl")

    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(here_reading, "_text", lambda path: "")
    monkeypatch.setattr(subprocess, "run", run)
    check(describe())
