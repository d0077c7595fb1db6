"""The shipped machines: every file loads, argues for itself, and is found by every name people and tables use."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from speedlight._foundation.errors import BadInput, UnknownName
from speedlight.hardware import catalogue
from speedlight.hardware.catalogue import build_index, fold, index, load_machine, machine_ids
from speedlight.hardware.machine import Machine, Peak

FOLDER = Path(catalogue.__file__).with_name("catalogue")
FILES = sorted(FOLDER.rglob("*.yaml"))
REQUIRED = """
p4 p100-pcie-16gb p100-sxm2-16gb v100-pcie-16gb v100-pcie-32gb v100-sxm2-16gb v100-sxm2-32gb v100-sxm3-32gb t4 a10
a30 a40 a100-pcie-40gb a100-pcie-80gb a100-sxm-40gb a100-sxm-80gb rtx-a6000 rtx-3090 rtx-4070 rtx-4090 rtx-5090 l4
l40s rtx-pro-6000-server-96gb h100-sxm-80gb h100-sxm-96gb-500w h100-pcie-80gb h100-nvl-94gb h800-sxm-80gb
h200-sxm-141gb h200-nvl-141gb gh200-96gb b200-sxm-180gb b300-sxm-288gb gb200-186gb gb300-288gb gb10
jetson-agx-orin-64gb jetson-agx-orin-32gb jetson-orin-nano-8gb jetson-agx-xavier-32gb jetson-nano-4gb mi100 mi210 mi250-gcd
mi250x-gcd mi300x mi325x mi355x max-1550 arc-pro-b60 gaudi2 gaudi3 tpu-v3 tpu-v4 tpu-v5e tpu-v5p tpu-v6e tpu-v7x
trainium1 trainium2 ascend-910b ascend-910c apple-m1-8c-16gb apple-m2-ultra-76c-192gb apple-m3-max-30c-96gb
apple-m3-max-40c-128gb apple-m4-max-40c-128gb i9-10940x i7-12700h xeon-platinum-8280 xeon-platinum-8380
xeon-platinum-8480 xeon-platinum-8592 epyc-7742 epyc-7763 epyc-9654 epyc-9755 grace-72c ryzen-9-7950x dgx-1-p100
dgx-1-v100 dgx-2 dgx-a100-40gb dgx-a100-80gb dgx-h100 dgx-h200 dgx-b200 dgx-b300 gb200-nvl72 hgx-mi300x hls-gaudi2
aws-p4d grand-teton-h100 frontier-node cloudmatrix384 tpu-v3-pod tpu-v4-pod tpu-v5e-pod tpu-v5p-pod tpu-v6e-pod wse-2 sn40l
sn40l-8 groq-lpu-v1 gddr6-aim-8ch dojo-tile iphone-13 pixel-8 stm32h743 alveo-u280 raspberry-pi-4-4gb p40 k80-die rtx-a5000
a800-sxm-80gb h20-sxm-96gb rtx-2080-ti rtx-2060 rtx-3060-laptop-6gb titan-xp titan-x-maxwell quadro-p4000 selene frontier-full
"""
# Kinds whose memory may be SRAM alone, whose banks multiply, or which run on milliwatts: the usual ranges do not hold.
UNUSUAL = ("wafer", "dataflow", "in-memory", "fpga", "mcu")


@pytest.fixture(scope="module")
def machines() -> dict[str, Machine]:
    """All shipped machines, loaded through the door users take."""
    return {i: load_machine(i) for i in machine_ids()}


@pytest.fixture(scope="module")
def devices(machines: dict[str, Machine]) -> dict[str, Machine]:
    return {i: m for i, m in machines.items() if m.n_devices == 1}


def main_peak(machine: Machine) -> Peak:
    """The peak most networks run at: matrix products in bf16, else fp16, else fp32."""
    stated = {p.format for p in machine.engine.peaks}
    wanted = next(f for f in ("bf16", "fp16", "fp32") if f in stated)
    return machine.engine.peak("matmul", wanted)[0]


def figures(data: Any) -> Iterator[dict[str, Any]]:
    if isinstance(data, dict):
        if "value" in data:
            yield data
        for value in data.values():
            yield from figures(value)
    elif isinstance(data, list):
        for value in data:
            yield from figures(value)


def test_there_are_enough(machines: dict[str, Machine], devices: dict[str, Machine]) -> None:
    assert len(devices) >= 75
    assert len(machines) - len(devices) >= 12


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_file_is_named_after_its_id_and_keeps_its_sources(path: Path) -> None:
    data = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    assert data["id"] == path.stem == fold(path.stem)
    machine = load_machine(path.stem)
    assert machine.id == path.stem
    assert machine.name
    assert machine.vendor
    text = path.read_text(encoding="utf-8")
    for figure in figures({k: v for k, v in data.items() if k != "sources"}):
        source = figure.get("source", "")
        if source and " " not in source:
            assert source in data["sources"], f"{source} is no key of sources: a slip?"
        if figure.get("grade", data.get("grade")) != "assumed":
            assert source
    for key in data.get("sources", {}):
        assert text.count(key) > 1, f"the source {key} vouches for nothing"


def test_the_required_variants_are_there(machines: dict[str, Machine]) -> None:
    assert set(REQUIRED.split()) <= set(machines)


def test_enough_devices_rest_on_sources(devices: dict[str, Machine]) -> None:
    """Peak, bandwidth and capacity all graded better than assumed, for at least 60 devices."""
    sourced = [
        i
        for i, m in devices.items()
        if "assumed"
        not in (
            main_peak(m).grade,
            m.facts[f"tiers.{m.main.name}.bandwidth"].grade,
            m.facts[f"tiers.{m.main.name}.capacity_bytes"].grade,
        )
    ]
    assert len(sourced) >= 60, sorted(set(devices) - set(sourced))


def test_every_matmul_rate_of_a_gpu_multiplies_out() -> None:
    """Habit 22: counts times clock give the published peak back (the loader checks it; here, that it is stated)."""
    without = []
    for path in FILES:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        if data["sort"] in ("system", "cluster"):
            continue
        for engine in data["engines"]:
            stated = {p["unit"] for p in engine["peaks"] if "derive" in p}
            if not {"vector"} <= stated and data["vendor"] not in ("google", "aws"):
                without.append(path.stem)
            if any(p["unit"] == "matmul" for p in engine["peaks"]) and "matmul" not in stated:
                without.append(path.stem)
    assert not without


def test_figures_are_of_this_world(machines: dict[str, Machine]) -> None:
    for name, m in machines.items():
        odd = m.kind in UNUSUAL
        ridge = main_peak(m).flops / m.main.bandwidth
        assert (0.2 if odd else 1) <= ridge <= 2000, (name, ridge)
        for tier in m.tiers:
            assert (1e8 if odd else 1e9) <= tier.bandwidth <= (1e17 if odd else 1e14), (name, tier.name)
            assert 1e4 <= tier.capacity_bytes <= 1e15, (name, tier.name)
            assert 0 < tier.latency_s < 1e-3
            assert tier.granule_bytes in (32, 64, 128, 256, 4096)
        for engine in m.engines:
            assert 1 <= engine.units <= 1e6
            assert 1e8 <= engine.clock_hz <= 6e9
            assert 0 < engine.launch_latency_s < 1e-4
            for p in engine.peaks:
                assert (1e8 if odd else 1e9) <= p.flops <= 1e17, (name, p)
                assert p.sparse_flops is None or p.sparse_flops >= p.flops
        for link in m.links:
            assert (1e7 if link.name in ("wifi", "ethernet") else 1e9) <= link.bandwidth <= 2e12, (name, link)
        assert m.tdp_w is None or 0.1 <= m.tdp_w <= (30_000 if m.kind == "wafer" else 2000)
        assert m.release_year is None or 2014 <= m.release_year <= 2026
        assert m.execution == ("spatial" if m.kind in ("wafer", "dataflow", "fpga") else "temporal")


def test_tiers_go_from_small_and_fast_to_large_and_slow(devices: dict[str, Machine]) -> None:
    for name, m in devices.items():
        caches = [t for t in m.tiers if t.role in ("cache", "sram")]
        assert caches or m.main.name == "sram", name
        for small, large in zip([*caches], [*caches[1:], m.main][: len(caches)], strict=True):
            assert small.bandwidth >= large.bandwidth, (name, small.name, large.name)
            assert small.capacity_bytes < m.main.capacity_bytes
        assert m.last_cache is (caches[-1] if caches else None)


def test_narrower_formats_are_never_slower(devices: dict[str, Machine]) -> None:
    for name, m in devices.items():
        rate = {(p.unit, p.format, p.accumulate): p.flops for p in m.engine.peaks}
        for narrow, wide in (("fp8", "bf16"), ("fp4", "fp8"), ("fp6", "fp8"), ("tf32", "fp32"), ("fp16", "tf32")):
            a, b = rate.get(("matmul", narrow, "fp32")), rate.get(("matmul", wide, "fp32"))
            if a and b:
                assert a >= b, (name, narrow, wide)
        for narrow, wide in (("fp16", "fp32"), ("fp32", "fp64")):
            a = rate.get(("vector", narrow, "fp64" if narrow == "fp64" else "fp32"))
            b = rate.get(("vector", wide, "fp64" if wide == "fp64" else "fp32"))
            if a and b:
                assert a >= 0.99 * b, (name, narrow, wide)


def test_every_gpu_states_a_vector_rate_and_special_functions(devices: dict[str, Machine]) -> None:
    for name, m in devices.items():
        assert any(p.unit == "vector" and p.format == "fp32" for p in m.engine.peaks), name
        if m.vendor in ("nvidia", "amd") and m.kind != "cpu":
            assert any(p.unit == "transcendental" for p in m.engine.peaks), name


@pytest.mark.parametrize(
    ("machine", "unit", "number_format", "accumulate", "flops"),
    [
        ("h100-sxm-80gb", "matmul", "bf16", None, 989.4e12),
        ("h100-sxm-80gb", "matmul", "fp8", None, 1978.9e12),
        ("rtx-4090", "matmul", "fp16", None, 165.2e12),
        ("rtx-4090", "matmul", "fp16", "fp16", 330.3e12),
        ("rtx-4090", "matmul", "fp8", None, 330.3e12),
        ("rtx-4090", "vector", "fp32", None, 82.58e12),
        ("a100-sxm-80gb", "matmul", "tf32", None, 156e12),
        ("v100-sxm2-32gb", "matmul", "bf16", None, 125e12),  # no bf16 unit: fp16's
        ("p100-sxm2-16gb", "matmul", "fp32", None, 10.61e12),  # no matrix unit: the lanes
        ("mi300x", "matmul", "bf16", None, 1307.4e12),
        ("i9-10940x", "matmul", "bf16", None, 14 * 64 * 3.3e9),  # no bf16: AVX-512 fp32
        ("xeon-platinum-8480", "matmul", "bf16", None, 56 * 2048 * 2.0e9),  # AMX
        ("tpu-v5e", "matmul", "bf16", None, 197e12),
    ],
)
def test_peaks_people_know(machine: str, unit: str, number_format: str, accumulate: str | None, flops: float) -> None:
    peak, _ = load_machine(machine).engine.peak(unit, number_format, accumulate)
    assert peak.flops == pytest.approx(flops, rel=0.005)


@pytest.mark.parametrize(
    ("machine", "capacity", "bandwidth"),
    [
        ("h100-sxm-80gb", 80e9, 3.35e12),
        ("h200-sxm-141gb", 141e9, 4.8e12),
        ("h100-sxm-96gb-500w", 96e9, 2.4e12),
        ("a100-pcie-40gb", 40e9, 1.56e12),
        ("mi250x-gcd", 64e9, 1.638e12),
        ("apple-m3-max-40c-128gb", 128e9, 400e9),
        ("apple-m3-max-30c-96gb", 96e9, 300e9),
        ("gb10", 128e9, 273.2e9),
    ],
)
def test_memories_people_know(machine: str, capacity: float, bandwidth: float) -> None:
    main = load_machine(machine).main
    assert (main.capacity_bytes, main.bandwidth) == (pytest.approx(capacity), pytest.approx(bandwidth))


def test_systems_join_their_devices(machines: dict[str, Machine]) -> None:
    for name, m in machines.items():
        if m.n_devices > 1:
            assert m.domains[-1].size == m.n_devices, name
            assert m.device_id in set(machines) - {name}
            assert all(1e9 <= d.bandwidth <= 2e12 for d in m.domains)
            assert m.engines == machines[m.device_id].engines
    assert load_machine("gb200-nvl72").n_devices == 72
    assert load_machine("dgx-h100").links[-1].role == "scale_out"
    assert load_machine("dgx-h100").tier("host").role == "host"


def test_the_index_is_up_to_date() -> None:
    built = build_index(FOLDER)
    shipped = json.loads((FOLDER / "index.json").read_text(encoding="utf-8"))
    assert built == shipped, "run: python scripts/index_catalogue.py"


def test_every_name_of_the_index_leads_to_its_machine() -> None:
    for name, machine_id in index()["names"].items():
        assert load_machine(name).id == machine_id
    for name, machine_id in index()["tables"].items():
        assert load_machine(name, table=True).id == machine_id


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("NVIDIA H200", "h200-sxm-141gb"),
        ("rtx4090", "rtx-4090"),
        ("H100_SXM", "h100-sxm-80gb"),
        ("Intel(R) Xeon(R) Platinum 8480+", "xeon-platinum-8480"),
        ("Intel(R) Core(TM) i9-10940X CPU @ 3.30GHz", "i9-10940x"),
        ("mi250x", "mi250x-gcd"),
        ("gb200", "gb200-186gb"),
        ("dgx spark", "gb10"),
    ],
)
def test_names_people_use(name: str, expected: str) -> None:
    assert load_machine(name).id == expected


@pytest.mark.parametrize("name", ["h100", "H100", "a100", "v100", "dgx-a100", "h200", "apple-m3-max"])
def test_a_short_name_of_several_variants_asks_which(name: str) -> None:
    with pytest.raises(BadInput) as caught:
        load_machine(name)
    assert caught.value.expected.count(",") >= 1
    assert "variants" in caught.value.message


def test_a_table_may_mean_one_of_several_variants() -> None:
    assert load_machine("H100", table=True).id == "h100-sxm-80gb"
    assert load_machine("a100", table=True).id == "a100-sxm-80gb"


@pytest.mark.parametrize("name", ["h1000", "", "-", "nonsense", "../../etc/passwd", "rtx-4091"])
def test_an_unknown_name_suggests_the_nearest(name: str) -> None:
    with pytest.raises(UnknownName):
        load_machine(name)
    with pytest.raises(UnknownName, match="rtx-4090"):
        load_machine("rtx-4091")


def test_two_files_cannot_claim_one_name(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("id: a\naliases: [x, b-2]\n")
    (tmp_path / "b-2.yaml").write_text("id: b-2\n")
    with pytest.raises(BadInput, match="both claim"):
        build_index(tmp_path)
    (tmp_path / "a.yaml").write_text("id: a\naliases: [X]\n")
    (tmp_path / "b-2.yaml").write_text("id: b-2\ntable_names: [x]\n")
    with pytest.raises(BadInput, match="both claim"):
        build_index(tmp_path)
    (tmp_path / "b-2.yaml").write_text("id: c\n")
    with pytest.raises(BadInput, match="named after it"):
        build_index(tmp_path)


def test_looking_up_names_loads_neither_yaml_nor_a_validator() -> None:
    code = "import sys, speedlight.hardware.catalogue as c; c.machine_ids(); print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {"yaml", "msgspec", "pydantic", "pandas", "torch"}


@pytest.mark.data
def test_every_machine_of_the_measured_tables_resolves(data_dir: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    names: set[str] = set()
    for path in sorted(data_dir.glob("[kmse]*/*.parquet")):
        if path.parent.name not in ("kernels", "models", "serving", "energy"):
            continue
        columns = [c for c in pq.read_schema(path).names if c in ("device", "system", "gpu_model")]
        parquet = pq.ParquetFile(path)
        for column in columns:
            # Dictionary pages hold the distinct strings; the first and last row groups are enough to meet them all
            # only where the table is sorted, so every group is read, one column at a time.
            for group in range(parquet.num_row_groups):
                names.update(parquet.read_row_group(group, columns=[column])[column].unique().to_pylist())
    assert len(names) > 30
    for name in names - {None}:
        load_machine(name, table=True)


@pytest.mark.data
def test_every_machine_of_the_published_tables_resolves(data_dir: Path) -> None:
    """All but what no catalogue holds: unnamed hardware and parts announced after it."""
    unknown = set()
    for name in ("training", "inference", "kernels"):
        with (data_dir / "published" / f"{name}.csv").open(encoding="utf-8") as stream:
            rows = {row["gpu"] for row in csv.DictReader(stream)}
        for gpu in rows:
            try:
                load_machine(gpu, table=True)
            except BadInput:
                unknown.add(gpu)
    left = {g for g in unknown if not g.startswith("(") and not g.startswith(("N/A", "UntetherAI", "Apple M5"))}
    assert not left
