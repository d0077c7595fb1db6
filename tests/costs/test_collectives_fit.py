"""Collectives and expert exchange as their fits see them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from speedlight.costs.calibration.samples import TABLES, View, assemble
from speedlight.costs.families import collectives, custom_allreduce, expert_exchange, switched_exchange
from speedlight.costs.families.fabric import fabric
from speedlight.evidence.tables import read_table
from speedlight.hardware.catalogue import load_machine
from speedlight.hardware.machine import Machine

from ..folders import DATA

SIZE = np.array([256.0, 2.0**17, 2.0**20, 2.0**24, 2.0**29])
RANKS = np.array([2.0, 4.0, 8.0, 8.0, 4.0])

See = Callable[[np.ndarray | float, np.ndarray | float, Machine], View]


def _collective(name: str) -> See:
    return lambda size, ranks, machine: collectives.view(name, size, fabric(machine, ranks), machine)


VIEWS: dict[str, See] = {
    **{name: _collective(name) for name in ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send_recv")},
    "eager": lambda size, ranks, machine: custom_allreduce.view(size, ranks, True, "vllm", machine),
    "graph": lambda size, ranks, machine: custom_allreduce.view(size, ranks, False, "sglang", machine),
    "dispatch": lambda size, ranks, machine: expert_exchange.view(
        size / 256, 4096.0, ranks, 32.0 * ranks, 1.0, 20.0, 1.0, machine
    ),
    "quick": lambda size, ranks, machine: expert_exchange.view(
        size / 256, 4096.0, ranks, 32.0 * ranks, 1.0, None, 2.0, machine
    ),
    "exchange": lambda size, ranks, machine: switched_exchange.view(
        "alltoall_dispatch", 1.0, size / 256, 7168.0, 8.0, ranks, machine
    ),
    "prepare": lambda size, ranks, machine: switched_exchange.view(
        "alltoall_prepare", 1.0, size / 256, 7168.0, 8.0, ranks, machine
    ),
}
MACHINES = ("h200-sxm-141gb", "rtx-pro-6000-server-96gb", "gb200-186gb", "dgx-a100-80gb", "4x-a40-pairwise")


def _scaled(machine: Machine) -> Machine:
    faster = machine.scaled("links", 2.0).scaled("peaks", 2.0).scaled(f"tiers.{machine.main.name}.bandwidth", 2.0)
    return faster.scaled(f"engines.{machine.engine.name}.clock_hz", 2.0)


@pytest.mark.parametrize("machine_id", MACHINES)
@pytest.mark.parametrize("name", VIEWS)
def test_an_array_is_its_floats(name: str, machine_id: str) -> None:
    machine = load_machine(machine_id)
    whole = VIEWS[name](SIZE, RANKS, machine)
    for number, (size, ranks) in enumerate(zip(SIZE.tolist(), RANKS.tolist(), strict=True)):
        one = VIEWS[name](size, ranks, machine)
        for many, single in (
            (whole.terms, one.terms),
            (whole.coords, one.coords),
            ({"": whole.limit}, {"": one.limit}),
        ):
            assert many.keys() == single.keys()
            for key, value in many.items():
                expected = np.broadcast_to(value, SIZE.shape)[number]
                assert single[key] == pytest.approx(expected, rel=1e-12, abs=1e-30), key


@pytest.mark.parametrize("machine_id", MACHINES)
@pytest.mark.parametrize("name", VIEWS)
def test_coordinates_hold_no_rate_and_terms_fall_with_rates(name: str, machine_id: str) -> None:
    machine = load_machine(machine_id)
    slow, fast = VIEWS[name](SIZE, RANKS, machine), VIEWS[name](SIZE, RANKS, _scaled(machine))
    for key, value in slow.coords.items():
        assert np.array_equal(value, fast.coords[key]), key
    for key, value in slow.terms.items():
        assert np.all(fast.terms[key] <= value), key
    moved = [k for k in slow.terms if k in ("wire", "link", "memory", "copy") and np.all(slow.terms[k] > 0)]
    assert moved
    assert all(np.allclose(fast.terms[k], slow.terms[k] / 2) for k in moved)


@pytest.mark.parametrize("machine_id", MACHINES)
@pytest.mark.parametrize("name", VIEWS)
def test_the_limit_is_below_the_sum_of_parts(name: str, machine_id: str) -> None:
    view = VIEWS[name](SIZE, RANKS, load_machine(machine_id))
    assert np.all(view.limit <= sum(view.terms.values()))


def test_traffic_by_hand() -> None:
    h100, size = load_machine("h100-sxm-80gb"), 4.5e9
    # A ring of two moves 2 · 1/2 · 4.5 GB through a 450 GB/s port; all_to_all of eight keeps an eighth at home.
    assert fabric(h100, 2.0).wire("all_reduce", size) == pytest.approx(0.01)
    assert fabric(h100, 8.0).wire("all_to_all", size) == pytest.approx(0.01 * 7 / 8)
    # A switch that reduces beats the ring on eight ranks, not on four: 9/8/0.8 < 7/4, 5/4/0.8 > 3/2.
    assert fabric(h100, 8.0).wire("all_reduce", size) == pytest.approx(0.01 * 9 / 8 / 0.8)
    assert fabric(h100, 4.0).wire("all_reduce", size) == pytest.approx(0.01 * 3 / 2)
    # Ampere's switch does not reduce.
    a100 = load_machine("a100-sxm-80gb")
    assert fabric(a100, 8.0).wire("all_reduce", 3e9) == pytest.approx(0.01 * 7 / 4)
    assert fabric(a100, 8.0).least("all_reduce", 3e9) == pytest.approx(0.01 * 7 / 4)


def test_two_boxes_of_eight() -> None:
    group = fabric(load_machine("dgx-a100-80gb"), 16.0)
    assert (group.nodes, group.per_node) == (2.0, 8.0)
    assert group.network("all_reduce", 1.6e9) == pytest.approx(2 * 15 / 16 * 1.6e9 / (8 * 25e9))
    assert fabric(load_machine("dgx-a100-80gb"), 8.0).network("all_reduce", 1e9) == 0.0


def test_distinct_ranks() -> None:
    # Two of eight experts on eight ranks never meet; eight of 256 on eight ranks meet 5.29 of them.
    assert expert_exchange.distinct(8.0, 2.0, 8.0) == pytest.approx(2.0)
    assert expert_exchange.distinct(8.0, 8.0, 256.0) == pytest.approx(5.2946, rel=1e-4)
    assert expert_exchange.distinct(1.0, 8.0, 256.0) == pytest.approx(1.0)
    both = expert_exchange.distinct(8.0, np.array([1.0, 8.0]), np.array([16.0, 256.0]))
    assert both.tolist() == pytest.approx([1.0, 5.2946], rel=1e-4)


def test_the_mode_is_stated_by_the_backend_alone() -> None:
    machine = load_machine("h100-sxm-80gb")
    named = {"framework": "vllm", "version": "1", "allreduce_dtype": "bfloat16", "kernel_source": "vLLM_custom_eager"}
    assert custom_allreduce.key({**named, "backend": "eager"}, machine)["op"] == "eager"
    assert custom_allreduce.key({**named, "backend": ""}, machine)["op"] == "graph"


@pytest.mark.data
@pytest.mark.parametrize(
    "table",
    [
        "nccl",
        "oneccl",
        "custom_allreduce",
        "collectives_pairwise",
        "moe_alltoall",
        "deepep_normal",
        "deepep_low_latency",
    ],
)
def test_rows_of_the_table(table: str) -> None:
    path = DATA / "kernels" / f"{table}.parquet"
    if not path.is_file():
        pytest.skip(f"no {path}")
    found = read_table(str(path))
    picked = np.linspace(0, found.rows - 1, 200).astype(int)
    rules = TABLES.get(table)
    columns = {name: column[picked] for name, column in found.columns.items()}
    inputs = {name: column for name, column in columns.items() if name not in rules.measured}
    for target in rules.targets:
        samples = assemble(rules, target, inputs, picked.size)
        measured = np.asarray(columns[target.column], dtype=float) * target.unit
        assert set(samples.status) == {"ok"}
        assert np.all(samples.limit <= measured)
        assert np.all(samples.limit >= 0)
        for coord, values in samples.coords.items():
            assert np.all(np.isfinite(values)), coord
    for column, (name, amount) in rules.rates.items():
        seconds = np.asarray(columns[name], dtype=float) * 1e-6
        numbers = {n: np.asarray(columns[n], dtype=float) for n in rules.numbers}
        assert np.allclose(amount(numbers) / seconds, np.asarray(columns[column], dtype=float), rtol=2e-3)
