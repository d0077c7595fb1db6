"""Inference with weights, experts and keys and values kept outside the device: laws, then exact cases."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speedlight._foundation.errors import BadFile, BadInput
from speedlight.api import explain
from speedlight.engine.answers.prediction import Prediction
from speedlight.scenario.file import dumps, loads
from speedlight.stacks.transfers import transfers_of
from speedlight.workload.places import Place, places_of

H100, LINK, HOST, DISK = "h100-sxm-80gb", 63e9, 76.75e9, 7e9


def asked(*offload: Any, model: str = "llama-3.1-8b", machine: str = H100, **more: Any) -> Prediction:
    options = {"phase": "decode", "batch": 8, "context": 4096, **more}
    return explain(model, machine, offload=offload, **options)


PLACES = st.builds(
    Place, st.sampled_from(["weights", "kv", "experts"]), st.sampled_from(["host", "disk"]), st.floats(0, 1),
    way=st.sampled_from(["moved", "direct", "computed", "layers"]),
)  # fmt: skip


@settings(max_examples=12, deadline=None)
@given(PLACES, st.sampled_from(["decode", "prefill"]), st.integers(1, 64), st.sampled_from(["vllm", "torch-eager"]))
def test_any_place_keeps_the_laws(place: Place, phase: str, batch: int, stack: str) -> None:
    options = {"model": "qwen3-30b-a3b", "phase": phase, "batch": batch, "isl": 512, "stack": stack}
    inside, outside = asked(**options), asked(place, **options)
    assert outside.limit <= outside.low <= outside.time * (1 + 1e-12) <= outside.high * (1 + 2e-12)
    assert sum(row.time for row in outside.ops) == pytest.approx(outside.time, rel=1e-9)
    assert outside.flops == inside.flops
    away = sum(tier["total"] for name, tier in outside.tiers.items() if name in ("host", "nvme"))
    assert outside.memory.total + away >= inside.memory.total * (1 - 1e-12)
    faster = asked(place, **options, overrides={"links.pcie.bandwidth": 2 * LINK})
    assert faster.time <= outside.time * (1 + 1e-12)


@pytest.mark.parametrize("cls", ["weights", "kv"])
@pytest.mark.parametrize("way", ["moved", "direct", "computed", "layers"])
def test_a_share_of_nothing_changes_nothing(cls: str, way: str) -> None:
    inside, outside = asked(), asked(Place(cls, "host", 0.0, way=way))
    assert outside.time == pytest.approx(inside.time, rel=1e-12)
    assert outside.memory.total == inside.memory.total
    assert outside.low == pytest.approx(inside.low, rel=1e-9)


def test_a_step_takes_at_least_its_bytes_over_the_link() -> None:
    p = asked("weights:host")
    read = p.model["weight_bytes"] - 128256 * 4096 * 2  # of the embedding a few rows only
    assert p.time >= read / LINK
    assert p.time == pytest.approx(read / LINK, rel=5e-3)
    assert p.bound == "link:pcie"
    assert p.tiers["host"]["total"] == p.model["weight_bytes"]
    products = [row for row in p.ops if row.name.startswith("q_proj")]
    assert products
    assert all(row.time == 0 < row.busy for row in products)  # hidden behind what they wait for


def test_a_sweep_equals_its_points() -> None:
    batches = np.array([1.0, 64.0, 512.0])
    together = asked("weights:host", batch=batches)
    for i, batch in enumerate(batches):
        alone = asked("weights:host", batch=float(batch))
        assert together.time[i] == pytest.approx(alone.time, rel=1e-12)
        assert together.bound[i] == alone.bound
        assert together.memory.total[i] == pytest.approx(alone.memory.total, rel=1e-12)
    shares = asked(Place("kv", "host", np.array([0.0, 0.5, 1.0])))
    assert np.all(np.diff(shares.time) > 0)


def test_where_computing_takes_longer_transfers_hide() -> None:
    """A prompt's products hide the weights they wait for, but for the first layer's."""
    inside, outside = (asked(*o, phase="prefill", batch=32, isl=4096) for o in ((), ("weights:host",)))
    assert 1.0 < outside.time / inside.time < 1.02
    assert outside.bound == inside.bound


def test_a_stack_that_waits_adds_what_one_that_prefetches_hides() -> None:
    waiting = asked("weights:host", stack="accelerate")
    hiding = asked("weights:host", stack="transformers")
    inside = asked(stack="transformers")
    assert waiting.time > hiding.time + 0.9 * inside.time
    assert waiting.memory.by_class["weights"] < hiding.memory.by_class["weights"]  # one buffer, not two


def test_two_slices_of_a_head_are_what_is_on_the_device() -> None:
    """HeadInfer, Llama-3-8B at 2^20 tokens: 128 GiB of keys and values, two head slices are 1 GiB."""
    place = Place("kv", "host", slices=8.0)
    p = asked(place, batch=1, context=2**20 - 1)
    assert p.tiers["host"]["total"] == 128 * 2**30
    assert p.memory.by_class["kv"] == pytest.approx(2**30, rel=1e-5)


def test_experts_cross_as_often_as_they_are_picked_and_not_cached() -> None:
    """Mixtral at batch 1: two of eight experts a layer; a hit rate of a half is half of that."""
    experts = 32 * 8 * 3 * 4096 * 14336 * 2
    every = asked("experts:host", model="mixtral-8x7b", batch=1)
    half = asked(Place("experts", "host", 1.0, use=0.5), model="mixtral-8x7b", batch=1)
    assert every.tiers["host"]["total"] == experts
    assert every.time == pytest.approx(experts * 2 / 8 / LINK, rel=5e-3)
    assert half.time == pytest.approx(every.time / 2, rel=2e-2)


def test_attention_beside_its_memory_streams_it_there() -> None:
    p = asked(Place("kv", "disk", way="computed", rate=40e9))
    kv = 8 * 4096 * 131072
    assert p.time > kv / 40e9
    assert asked(Place("kv", "disk", way="computed")).time > kv / DISK
    crossing = asked(Place("kv", "disk"))
    assert crossing.time > p.time


def test_banks_read_their_own_rows_faster_than_the_bus_brings_them() -> None:
    """In-memory attention: nothing leaves the device, its keys and values are read at the banks' rate."""
    inside, banks = asked(batch=64), asked(Place("kv", "memory", way="computed", rate=4 * 3.35e12), batch=64)
    assert banks.time < inside.time
    assert banks.memory.total == inside.memory.total
    slow = asked(Place("kv", "memory", way="computed", rate=4 * 3.35e12, intensity=1.0), batch=64)
    assert slow.time > banks.time  # four query heads share a key: more arithmetic than one FLOP a byte
    with pytest.raises(BadInput, match="rate"):
        Place("kv", "memory")


def test_packed_bytes_cross_and_lie_there() -> None:
    plain, packed = asked("weights:host"), asked(Place("weights", "host", packed=9 / 16))
    assert packed.tiers["host"]["total"] == plain.tiers["host"]["total"] * 9 / 16
    assert packed.time == pytest.approx(plain.time * 9 / 16, rel=5e-3)


def test_a_slow_path_is_a_path() -> None:
    """From a disk: its rate, the host's memory twice, the link; whichever is slowest."""
    p = asked("weights:disk")
    fetch = next(row for row in p.ops if row.name == "layers.fetch")
    assert fetch.bound == "disk"
    assert p.least["disk"] * DISK == pytest.approx(p.least["link:pcie"] * LINK)
    assert p.least["host_dram"] * HOST == pytest.approx(2 * p.least["disk"] * DISK)


def test_places_are_words_and_round_trip() -> None:
    assert places_of(["weights:host", "kv:disk:0.5:computed"]) == (
        Place("weights", "host"), Place("kv", "disk", 0.5, way="computed"),
    )  # fmt: skip
    asked_for = asked("weights:host:0.25").scenario
    assert loads(dumps(asked_for)) == asked_for
    for wrong in ("weights", "weights:moon", "weights:host:much", "weights:host:1:thrown", "weights:host:1:moved:2"):
        with pytest.raises(BadInput):
            places_of([wrong])
    with pytest.raises(BadInput, match="twice"):
        places_of(["kv:host", "kv:disk"])
    with pytest.raises(BadFile, match="hurry"):
        transfers_of({"offload": {"hurry": True}})
