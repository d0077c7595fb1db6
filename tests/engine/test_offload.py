"""States kept outside the device: bytes conserved, every path occupied, the update beside the states."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from speedlight._foundation.errors import BadInput
from speedlight.api import explain
from speedlight.engine.answers.prediction import Prediction
from speedlight.engine.predict import predict

LAYOUT = {"phase": "train", "batch": 16, "isl": 512, "dp": 8, "zero": 3, "micro_batch": 1, "recompute": "full"}


def asked(*offload: str, machine: str = "dgx-h100", **more: Any) -> Prediction:
    return explain("llama-3.2-1b", machine, **{**LAYOUT, **more}, offload=offload)


@pytest.mark.parametrize("cls", ["optimizer", "gradients", "weights"])
def test_what_leaves_the_device_is_in_the_host(cls: str) -> None:
    inside, outside = asked(), asked(f"{cls}:host")
    assert outside.tiers["host"]["total"] == pytest.approx(inside.memory.by_class[cls])
    assert outside.memory.by_class[cls] <= inside.memory.by_class[cls]
    assert outside.tiers["host"]["capacity"] == pytest.approx(2000e9 / 8)
    assert sum(row.time for row in outside.ops) == pytest.approx(outside.time, rel=1e-9)
    assert outside.limit <= outside.low <= outside.time <= outside.high


def test_the_hosts_update_streams_every_state_through_its_memory() -> None:
    """Adam in mixed precision: 12 bytes of states read and written, 2 of gradients read, 2 of weights written: 28 a parameter,
    over the box's memory that eight devices share (ZeRO-Offload, arXiv 2101.06840 §4)."""
    p = asked("optimizer:host")
    n = p.model["params"] / 8
    update = next(row for row in p.ops if row.name == "optimizer.update")
    assert update.busy == pytest.approx(28 * n / (614e9 / 8), rel=1e-6)
    assert update.bound == "host_dram"
    back = next(row for row in p.ops if row.name == "optimizer.load_weights")
    assert back.busy == pytest.approx(2 * n / 63e9, rel=1e-3)
    assert not [row for row in p.ops if row.name.startswith("adam")]


def test_activations_go_out_and_come_back() -> None:
    """Of each layer its input, once forward and once backward, for every micro-batch."""
    p = asked("activations:host")
    rows = {row.name: row for row in p.ops if row.name.endswith("_activations")}
    assert set(rows) == {"layers.store_activations", "layers.backward.load_activations"}
    for row in rows.values():
        assert row.count == 2 * 16
        assert row.busy == pytest.approx(2 * 16 * 512 * 2048 * 2 / 63e9, rel=1e-3)
        assert row.time <= row.busy


def test_transfers_that_wait_for_nobody_cost_more(tmp_path: Any) -> None:
    path = tmp_path / "plain.yaml"
    path.write_text(
        "schema: 1\nname: plain\nversion: '1'\ndate: '2026-11-26'\nbase: torch-eager@2.9\nattrs: {overlap: [gradients, weights]}\n"
    )
    beside, after = (asked("weights:host", stack=stack) for stack in ("torch-eager@2.9", str(path)))
    assert after.time > beside.time


def test_a_lone_card_sits_in_an_assumed_host_and_says_so() -> None:
    p = asked("optimizer:host", machine="h100-sxm-80gb")
    assert p.tiers["host"]["capacity"] == pytest.approx(250e9)
    assert {a.what for a in p.assumptions} >= {"host memory", "disk", "host processor"}


def test_a_machine_without_a_link_to_a_host_says_so() -> None:
    with pytest.raises(BadInput, match="states no link to its host"):
        asked("optimizer:host", machine="apple-m3-max-40c-128gb", dp=1, stack="torch-eager")


def test_what_the_device_updates_leaves_the_hosts_arithmetic() -> None:
    """Its states pass the link each way beside the host's update of the rest; both go through the host's memory."""
    slow = {"attrs": {"offload": {"update": 0.25}}}

    def with_share(share: float) -> Prediction:
        training = dataclasses.replace(asked("optimizer:host").scenario.program.workload.training, update_here=share)
        scenario = asked("optimizer:host").scenario
        program = dataclasses.replace(scenario.program, software=slow)
        return predict(dataclasses.replace(scenario, programs=(program,)).with_workload(training=training))

    times = [with_share(share).time for share in (0.0, 0.5, 0.8)]
    assert times == sorted(times, reverse=True)
    host = next(row for row in with_share(0.0).ops if row.name == "optimizer.update")
    assert host.bound == "host"
    n = asked().model["params"] / 8
    assert host.busy == pytest.approx(28 * n / (614e9 / 8) / 0.25, rel=1e-6)


def test_an_update_behind_the_backward_pass_shows_less() -> None:
    scenario = asked("optimizer:host").scenario
    hidden = {"attrs": {"overlap": ["gradients", "weights", "context", "offload", "update"]}}
    program = dataclasses.replace(scenario.program, software=hidden)
    assert predict(dataclasses.replace(scenario, programs=(program,))).time < predict(scenario).time
