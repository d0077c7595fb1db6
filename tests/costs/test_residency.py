"""Random accesses and the host's memory: what moves, in which pieces, over which path. Each case worked by hand."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import speedlight
from speedlight import Prediction
from speedlight._foundation.errors import BadInput
from speedlight._foundation.expr import const
from speedlight.costs.cost import Conditions
from speedlight.costs.residency import split
from speedlight.hardware.catalogue import load_machine
from speedlight.lowering.kernels import Access

H100 = "h100-sxm-80gb"
HBM, PCIE = 3.35e12, 63e9


def ask(tmp: Path, machine: str = H100, stack: str = "ideal", overrides: Any = None, **file: Any) -> Prediction:
    path = tmp / f"{abs(hash(json.dumps(file, sort_keys=True)))}.json"
    path.write_text(json.dumps({"schema": 1, **file}), "utf-8")
    return speedlight.explain(str(path), machine, stack=stack, overrides=overrides)


def gather(
    tmp: Path, rows: float, width: float, among: float, home: str = "main", path: str = "copied", **more: Any
) -> Prediction:
    table = {"elements": among * width, "dtype": "fp32", "class": "index", "home": home}
    arguments = {"rows": rows, "width": width, "among": among, "table": "table", "path": path, "dtype": "fp32"}
    return ask(tmp, tensors={"table": table}, ops=[{"name": "g", "template": "gather", "with": arguments}], **more)


def test_a_short_row_moves_a_whole_granule(tmp_path: Path) -> None:
    """4-byte rows of a 4 GB table: 64 bytes of memory each, 16 times what is wanted; the limit asks for 4."""
    p = gather(tmp_path, 1e8, 1, 1e9)
    assert load_machine(H100).main.granule_bytes == 64
    assert p.time == pytest.approx((1e8 * 64 + 1e8 * 4 + 1e8 * 4) / HBM, rel=0.02)  # rows, numbers, results
    cold = 1 - 50 * 2**20 / 4e8  # numbers and results: the cache holds an eighth of each
    assert p.limit == pytest.approx((4e8 + 2 * 4e8 * cold) / HBM, rel=1e-3)
    assert p.bound == "hbm"


def test_whole_granules_waste_nothing(tmp_path: Path) -> None:
    wide, streamed = gather(tmp_path, 1e7, 64, 1e8), gather(tmp_path, 1e7, 64.5, 1e8)
    assert wide.time == pytest.approx(wide.limit, rel=0.02)  # the fiftieth of the results that a cache could hold
    assert streamed.time > wide.time


def test_a_table_that_fits_the_cache_is_read_from_memory_once(tmp_path: Path) -> None:
    """10^9 accesses to 1 MB: the cache's sectors of 32 bytes bind, 8 times the bytes wanted; memory sees the megabyte."""
    p = gather(tmp_path, 1e9, 1, 2.5e5)
    assert p.bound == "cache"
    near = 1e9 * 32 + 1e9 * 4 + 1e9 * 4
    assert p.time == pytest.approx(near / 10.14e12, rel=0.02)


def test_a_table_larger_than_the_cache_is_read_again_where_it_misses(tmp_path: Path) -> None:
    """10^10 accesses of 64 bytes to 1 GB: a pass over it, and all but 5 % of the rest, which the cache holds."""
    p = gather(tmp_path, 1e10, 16, 1e9 / 64)
    again = (6.4e11 - 1e9) * (1 - 50 * 2**20 / 1e9)
    streamed = 1e10 * (64 + 4)  # results and row numbers: far larger than any cache
    assert p.time == pytest.approx((1e9 + again + streamed) / HBM, rel=0.01)
    assert p.limit == pytest.approx((1e9 + streamed) / HBM, rel=0.01)


@settings(max_examples=20)
@given(st.floats(1, 1e9), st.floats(1, 512), st.floats(1, 1e8))
def test_no_gather_is_faster_than_its_limit(
    tmp_path_factory: pytest.TempPathFactory, rows: float, width: float, among: float
) -> None:
    p = gather(tmp_path_factory.getbasetemp(), rows, width, among, stack="torch-eager")
    assert 0 <= p.limit <= p.time
    assert all(row.limit <= row.time for row in p.ops)


def test_a_copy_from_the_host_is_as_slow_as_the_link(tmp_path: Path) -> None:
    p = ask(tmp_path, ops=[{"name": "c", "template": "host_to_device", "with": {"elements": 1e9, "dtype": "fp32"}}])
    assert p.bound == "link:pcie"
    assert p.time == pytest.approx(4e9 / PCIE, rel=0.01)
    assert p.limit == pytest.approx(4e9 / PCIE, rel=1e-9)
    assert p.memory.by_class["activations"] == pytest.approx(4e9)  # where it lands; what it came from is the host's


def test_a_system_whose_host_memory_is_slower_than_its_links_waits_for_it(tmp_path: Path) -> None:
    file: dict[str, Any] = {
        "ops": [{"name": "c", "template": "host_to_device", "with": {"elements": 1e9, "dtype": "fp32"}}]
    }
    fast = ask(tmp_path, "dgx-h100", **file)
    assert fast.bound.startswith("link:")
    slow = ask(tmp_path, "dgx-h100", overrides={"tiers.host.bandwidth": 10e9}, **file)
    assert slow.bound == "host_dram"
    assert slow.time == pytest.approx(4e9 / 10e9, rel=0.01)


def test_on_a_cpu_the_hosts_memory_is_its_own(tmp_path: Path) -> None:
    p = ask(
        tmp_path,
        "i9-10940x",
        ops=[{"name": "c", "template": "host_to_device", "with": {"elements": 1e9, "dtype": "fp32"}}],
    )
    assert p.bound == "host_dram"
    assert p.time == pytest.approx(8e9 / load_machine("i9-10940x").main.bandwidth, rel=0.02)


def test_paths_to_the_host_move_what_they_say(tmp_path: Path) -> None:
    """10^6 rows of 128 bytes at random from 12.8 GB: as they are, in 64-byte pieces, in pages of 4 KiB."""
    times = {path: gather(tmp_path, 1e6, 32, 1e8, "host", path) for path in ("copied", "zero-copy", "demand-paged")}
    assert times["copied"].time == pytest.approx(1.28e8 / PCIE, rel=0.01)
    assert times["zero-copy"].time == pytest.approx(1.28e8 / PCIE, rel=0.01)
    assert times["demand-paged"].time == pytest.approx(1e6 * 4096 / PCIE, rel=0.01)
    short = gather(tmp_path, 1e6, 1, 1e9, "host", "zero-copy")
    assert short.time == pytest.approx(1e6 * 64 / PCIE, rel=0.01)
    assert all(p.limit == pytest.approx(1.28e8 / PCIE, rel=1e-9) for p in times.values())


def test_a_tensor_may_live_in_both_memories(tmp_path: Path) -> None:
    shares: Any = {"main": 0.75, "host": 0.25}
    p = gather(tmp_path, 1e6, 32, 1e8, shares, "zero-copy")
    assert p.time == pytest.approx(0.25 * 1.28e8 / PCIE, rel=0.01)
    assert p.memory.by_class["cache"] == pytest.approx(0.75 * 12.8e9)


def test_a_device_without_a_host_link_says_so(tmp_path: Path) -> None:
    spec = {
        "schema": 1, "sort": "device", "id": "alone", "name": "Alone", "vendor": "me", "kind": "gpu",
        "engines": [{"name": "sm", "kind": "simt", "units": 10, "clock": "1 GHz", "peaks": [{"unit": "vector", "format": "fp32", "flops": "1 TFLOP/s"}]}],
        "tiers": [{"name": "dram", "role": "main", "capacity": "80 GB", "bandwidth": "1 TB/s"}],
    }  # fmt: skip
    machine = tmp_path / "alone.yaml"
    machine.write_text(json.dumps(spec), "utf-8")
    with pytest.raises(BadInput, match="no link to its host"):
        gather(tmp_path, 1e6, 32, 1e8, "host", machine=str(machine))


def test_a_unit_that_no_engine_has_is_vector_work(tmp_path: Path) -> None:
    """10^12 codec operations: on H100's integer lanes, or on a unit of that name where the machine states one."""
    file: dict[str, Any] = {"ops": [{"name": "d", "work": [{"unit": "codec", "flops": 1e12, "format": "int32"}]}]}
    plain = ask(tmp_path, **file)
    assert plain.bound == "vector"
    assert plain.time == pytest.approx(1e12 / 33.45e12, rel=0.01)
    text = Path(str(speedlight.__file__)).parent / "hardware" / "catalogue" / "nvidia" / f"{H100}.yaml"
    with_unit = text.read_text("utf-8").replace(
        "    peaks:\n",
        "    peaks:\n      - {unit: codec, format: int32, accumulate: int32, flops: {value: 100 TFLOP/s, grade: assumed}}\n",
    )
    machine = tmp_path / "with-codec.yaml"
    machine.write_text(with_unit.replace(f"id: {H100}", "id: with-codec"), "utf-8")
    own = ask(tmp_path, str(machine), **file)
    assert own.bound == "unit:codec"
    assert own.time == pytest.approx(1e12 / 100e12, rel=0.01)


def test_dependent_reads_of_a_large_index_take_memorys_latency(tmp_path: Path) -> None:
    """128 steps: 270 ns each where the index fits the cache, 600 ns where it does not."""
    walk = {"queries": 1, "dim": 16, "degree": 8, "ef": 64, "visited": 64}
    small, large = (
        ask(
            tmp_path,
            stack="torch-eager",
            ops=[{"name": "w", "template": "search_hnsw", "with": {**walk, "vectors": n}}],
        )
        for n in (1e4, 1e8)
    )
    assert small.ops[0].time == pytest.approx(127 * 270e-9 + 2e-6, rel=0.01)
    assert large.ops[0].time == pytest.approx(127 * 600e-9 + 2e-6, rel=0.01)
    assert large.bound == "latency"


def test_a_radix_sort_on_an_a100_is_slower_than_light_and_within_reach_of_what_was_measured(tmp_path: Path) -> None:
    """Onesweep (arXiv 2206.01784, abstract) sorts 256 M keys of 32 bits at 29.4 · 10^9 a second: 9.13 ms for 2^28."""
    file: dict[str, Any] = {"ops": [{"name": "s", "template": "radix_sort", "with": {"n": "2**28"}}]}
    p = ask(tmp_path, "a100-sxm-40gb", **file)
    measured = 2**28 / 29.4e9
    assert p.limit < measured
    assert 1 < measured / p.time < 2


def test_caches_drop_what_they_could_hold() -> None:
    """x of W bytes read, y of W written through 50 MiB: of T = 2 W, C²/(C² + T²) of what would fit is expected to stay."""
    from speedlight.costs.cost import Conditions
    from speedlight.costs.residency import split
    from speedlight.engine.questions.resolve import planned, resolve

    resolved = resolve(speedlight.make_scenario("resnet18", H100, batch=8, dtype="fp16", stack="torch-eager"))
    program = planned(resolved)[0].program
    capacity = resolved.machine.last_cache.capacity_bytes
    for batch in (1.0, 8.0, 64.0, 512.0):
        for block, (_, values) in zip(program.blocks, program.evaluate({"batch": batch}, []), strict=True):
            for kernel, numbers in zip(block.kernels, values, strict=True):
                if kernel.fn != "relu":
                    continue
                whole, touched = numbers.bytes[0], sum(numbers.bytes)
                said = split(kernel, numbers, resolved.machine, Conditions())
                best = min(1.0, capacity / whole)
                kept = capacity**2 / (capacity**2 + touched**2)
                assert said.required == pytest.approx(touched * (1 - best))
                assert said.moved == pytest.approx(touched * (1 - best * kept))


@given(st.floats(1e3, 1e12), st.floats(1.0, 4.0))
def test_weights_that_fill_the_cache_are_partly_gone_when_they_come_round(total: float, more: float) -> None:
    """Of weights that a cache of C bytes could hold, C²/(C² + W²) is expected to be there; the limit asks for none of the rest."""
    machine = load_machine(H100)
    cache = machine.last_cache
    assert cache is not None
    kernel = SimpleNamespace(kind="matmul", accesses=(Access("w", "weight", const(1.0), const(1.0)),))
    values = SimpleNamespace(bytes=(1e3,), sizes=(1e3,), granules=(None,))
    found, larger = (split(kernel, values, machine, Conditions(weights_bytes=w)) for w in (total, more * total))  # type: ignore[arg-type]
    assert found.moved <= larger.moved <= 1e3
    fits = total <= cache.capacity_bytes
    assert found.required == (0.0 if fits else 1e3)
    assert found.moved == pytest.approx(1e3 / (1 + (cache.capacity_bytes / total) ** 2) if fits else 1e3)
    assert split(kernel, values, machine, Conditions("repeated")).moved == 0.0  # type: ignore[arg-type]
