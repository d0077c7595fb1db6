"""Programs that hand bytes to each other, and programs on machines of their own."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import speedlight
from speedlight._foundation.errors import BadInput
from speedlight.scenario.file import dumps, loads
from speedlight.scenario.scenario import Edge, ModelRef, Program, Scenario
from speedlight.workload.workload import Workload

SERVER, BOARD = "rtx-4090", "jetson-agx-orin-64gb"
HEAD = Program(ModelRef("vit-b-16"), Workload("forward", batch=1), name="head")
TAIL = Program(ModelRef("bert-base"), Workload("forward", batch=4, isl=64), name="tail")


def asked(*edges: Edge, head: Program = HEAD) -> speedlight.Prediction:
    return speedlight.explain(Scenario((head, TAIL), SERVER, edges=edges, main="tail"))


def test_an_edge_adds_its_bytes_over_its_link() -> None:
    apart, joined = asked(), asked(Edge("head", "tail", 1e6, "100 Mbit/s"))
    assert joined.time == pytest.approx(apart.time + 1e6 / 12.5e6, rel=1e-9)
    row = next(row for row in joined.ops if row.step == "head → tail")
    assert row.bound == "link:head-tail"
    assert sum(row.time for row in joined.ops) == pytest.approx(joined.time, rel=1e-9)
    assert joined.limit <= joined.low <= joined.time <= joined.high
    assert joined.flops == apart.flops
    assert joined.memory.total == apart.memory.total
    assert [stage.name for stage in joined.stages] == ["head", "head → tail", "tail"]


def test_a_named_link_and_how_often() -> None:
    apart = asked().time
    bus = asked(Edge("head", "tail", 1e9, "pcie", repeats=2, probability=0.25))
    assert bus.time == pytest.approx(apart + 0.5 * (1e9 / 31.5e9 + 2e-6), rel=1e-9)


def test_amounts_broadcast() -> None:
    sizes = np.array([0.0, 1e6, 1e7])
    together = asked(Edge("head", "tail", sizes, "10 MB/s"))
    for i, size in enumerate(sizes):
        assert together.time[i] == pytest.approx(asked(Edge("head", "tail", float(size), "10 MB/s")).time, rel=1e-9)
    assert together.bound[2] == "link:head-tail"


def test_a_program_on_a_machine_of_its_own() -> None:
    elsewhere = dataclasses.replace(HEAD, machine=BOARD)
    here, there = asked(), asked(Edge("head", "tail", 1e5, "1 Gbit/s"), head=elsewhere)
    alone = speedlight.explain(Scenario((dataclasses.replace(HEAD, name="main"),), BOARD))
    own = speedlight.explain(Scenario((dataclasses.replace(TAIL, name="main"),), SERVER))
    assert there.time == pytest.approx(alone.time + own.time + 1e5 / 125e6, rel=1e-9)
    assert there.tiers[BOARD]["total"] == pytest.approx(alone.memory.total, rel=1e-9)
    assert there.memory.total < here.memory.total
    assert sum(row.time for row in there.ops) == pytest.approx(there.time, rel=1e-9)
    again = loads(dumps(there.scenario))
    assert again == there.scenario
    single = speedlight.explain(Scenario((dataclasses.replace(HEAD, name="main", machine=BOARD),), SERVER))
    assert single.time == pytest.approx(alone.time)


@pytest.mark.parametrize(
    ("edge", "message"),
    [
        (Edge("head", "nobody"), "joins no two programs"),
        (Edge("tail", "head", 1.0, "pcie"), "goes backwards"),
        (Edge("head", "tail", -1.0, "pcie"), "bytes"),
        (Edge("head", "tail", 1.0, "pcie", probability=2.0), "probability"),
        (Edge("head", "tail", 1.0, "string"), "a link of the machine"),
    ],
)
def test_edges_that_make_no_sense(edge: Edge, message: str) -> None:
    with pytest.raises(BadInput, match=message) as raised:
        asked(edge)
    assert raised.value.expected or message in raised.value.message


def test_machines_of_a_stream_work_beside_each_other() -> None:
    """Latency is the sum; what comes out in a second is what the slowest place lets through."""
    elsewhere = dataclasses.replace(HEAD, machine=BOARD)
    together = asked(Edge("head", "tail", 1e3, "1 Gbit/s"))
    apart = asked(Edge("head", "tail", 1e3, "1 Gbit/s"), head=elsewhere)
    times = {stage.name: stage.time for stage in apart.stages}
    calls = TAIL.workload.batch * TAIL.workload.isl
    assert calls / apart.throughput["value"] == pytest.approx(max(times["head"], times["tail"]), rel=1e-9)
    assert calls / together.throughput["value"] == pytest.approx(sum(s.computing for s in together.stages), rel=1e-9)


def test_pictures_are_decoded_where_it_is_asked() -> None:
    from speedlight.techniques.compose import ask, parsed

    scenario = speedlight.make_scenario("resnet50", "a100-sxm-80gb", batch=64)
    host, device = (
        ask(scenario.replace(techniques=(parsed(name),))) for name in ("host-input-pipeline", "device-input-pipeline")
    )
    assert [s.name for s in host.stages] == ["input", "input → main", "main"]
    assert host.stages[0].place == "epyc-7763"
    assert device.stages[0].place == "a100-sxm-80gb"
    assert host.stages[1].time > 5 * device.stages[1].time  # pixels against compressed bytes
