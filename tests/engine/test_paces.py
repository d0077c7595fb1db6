"""Stages in sequence: times add to the latency, the slower of device and link sets the throughput."""

from __future__ import annotations

import pytest

import speedlight
from speedlight.engine.programs.stages import Stage, pace, period
from speedlight.scenario.scenario import ModelRef, Program, Scenario
from speedlight.workload.workload import Workload


def asked(symbols: dict[str, float], batch: int = 256) -> Scenario:
    copy = Program(
        ModelRef("examples/image_input.yaml"), Workload("forward", batch=batch, symbols=symbols), name="input"
    )
    net = Program(ModelRef("resnet50", dtype="fp16"), Workload("forward", batch=batch), name="net")
    return Scenario((copy, net), "rtx-4090", main="net")


def test_latency_adds_and_copies_hide_behind_the_device() -> None:
    scenario = asked({"height": 2000, "width": 2000, "density": 2.0})
    p = speedlight.explain(scenario)
    alone = [speedlight.explain(Scenario((program,), "rtx-4090")).time for program in scenario.programs]
    assert p.time == pytest.approx(sum(alone), rel=1e-6)
    first, second = p.stages
    assert (first.name, second.name) == ("input", "net")
    assert first.time + second.time == pytest.approx(p.time, rel=1e-9)
    assert first.copying > 0
    assert second.copying == 0
    each = max(first.computing + second.computing, first.copying)
    assert p.throughput["value"] == pytest.approx(256 / each)
    assert p.throughput["value"] > 256 / p.time


def test_the_slowest_place_names_its_slowest_stage() -> None:
    stages = (Stage("decode", 2.0, 0.0), Stage("copy", 4.0, 3.9), Stage("net", 3.0, 0.0))
    assert period(stages) == pytest.approx(5.1)  # 2 + 0.1 + 3 on the device, 3.9 on the link
    assert pace(stages) == "stage:net"
    assert pace((*stages, Stage("more copies", 2.0, 2.0))) == "stage:copy"


def test_json_tells_which_stage_sets_the_throughput() -> None:
    said = speedlight.explain(asked({}, 8)).to_dict()
    assert [s["name"] for s in said["stages"]] == ["input", "net"]
    assert sum(s["sets_throughput"] for s in said["stages"]) == 1
    assert any("a steady stream takes" in note for note in said["notes"])
    assert "stages" not in speedlight.explain("resnet50", "rtx-4090").to_dict()
