"""Clusters: named, stated by a file, refused where they make no sense."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from speedlight import explain
from speedlight._foundation.errors import BadFile, BadInput, UnknownName
from speedlight.cli.main import main
from speedlight.hardware.catalogue import load_machine
from speedlight.hardware.cluster import cluster, sides, with_nodes

FILE = """
schema: 1
id: selene-like
name: 32 boxes below 4 leaf switches
system: dgx-a100-80gb
nodes: 32
network:
  - {name: infiniband, topology: fat-tree, size: 256, leaf: 64, oversubscription: 2, routing: hashed, bandwidth: 25 GB/s}
"""


@pytest.mark.parametrize(
    "name", ["dgx-h100x16", "dgx-h100 x 16", "DGX H100 × 16", "hgx-h100*16", with_nodes("dgx-h100", 16)]
)
def test_so_many_of_a_box(name: str) -> None:
    machine = load_machine(name)
    assert (machine.n_devices, machine.box, machine.device_id) == (128, 8, "h100-sxm-80gb")
    outer = machine.domains[-1]
    assert (outer.role, outer.size, outer.bandwidth) == ("scale_out", 128, 50e9)
    assert machine.facts["domains.infiniband.bandwidth"].grade == "derived"


def test_one_box_is_itself() -> None:
    assert load_machine("dgx-h100x1") == load_machine("dgx-h100")


def test_a_file_states_the_network(tmp_path: Path) -> None:
    path = tmp_path / "selene.yaml"
    path.write_text(FILE)
    machine = load_machine(str(path))
    assert (machine.n_devices, machine.domains[-1].leaf, machine.domains[-1].routing) == (256, 64, "hashed")
    assert machine.facts["domains.infiniband.oversubscription"].value == 2


@pytest.mark.parametrize(
    ("old", "new", "needle"),
    [
        ("nodes: 32", "nodes: 33", "joins 256"),
        ("nodes: 32", "nodes: 0", "cluster of 0"),
        ("leaf: 64", "leaf: 4", "leaf is 4"),
        ("oversubscription: 2", "oversubscription: 0.5", "at least 1"),
        ("routing: hashed", "routing: random", "routing is 'random'"),
        ("topology: fat-tree", "topology: torus, shape: [4, 4]", "multiply to 32"),
        ("topology: fat-tree", "topology: fat-tree, shape: [4, 8]", "sides of a torus"),
        ("topology: fat-tree", "topology: fat-tree, loss: 1", "loss is 1"),
        ("topology: fat-tree", "topology: fat-tree, availability: 0", "availability is 0"),
        ("name: infiniband", "name: nvlink", "stated twice"),
    ],
)
def test_nonsense_is_refused(tmp_path: Path, old: str, new: str, needle: str) -> None:
    path = tmp_path / "selene.yaml"
    path.write_text(FILE.replace(old, new))
    with pytest.raises(BadFile) as error:
        load_machine(str(path))
    assert needle in str(error.value) or needle in error.value.expected


MIXED = """
schema: 1
id: mixed
name: old and new boxes
parts:
  - {system: dgx-a100-80gb, nodes: 2}
  - {system: dgx-h100, nodes: 2}
"""


def test_unequal_boxes_wait_for_the_weakest(tmp_path: Path) -> None:
    path = tmp_path / "mixed.yaml"
    path.write_text(MIXED)
    mixed, old, new = load_machine(str(path)), load_machine("dgx-a100-80gb"), load_machine("dgx-h100")
    assert [(p.machine.id, p.nodes) for p in mixed.parts] == [("dgx-a100-80gb", 2), ("dgx-h100", 2)]
    assert (mixed.n_devices, mixed.domains[-1].size, mixed.domains[-1].bandwidth) == (32, 32, 25e9)
    assert mixed.engine.peak("matmul", "bf16")[0].flops == old.engine.peak("matmul", "bf16")[0].flops
    assert mixed.main.bandwidth == min(old.main.bandwidth, new.main.bandwidth)
    for path_, phase in ((str(path), "prefill"), (str(path), "decode")):
        slow = explain("llama-3.1-8b", path_, phase=phase, isl=512, stack="ideal").time
        assert float(slow) >= max(
            float(explain("llama-3.1-8b", on, phase=phase, isl=512, stack="ideal").time) for on in ("dgx-a100-80gb", "dgx-h100")
        ) * (1 - 1e-9)  # fmt: skip


def test_each_figure_of_a_mixture_is_its_weakest(tmp_path: Path) -> None:
    """An H20 multiplies less than an A100 and reads more: the mixture has the one's products and the other's memory."""
    path = tmp_path / "mixed.yaml"
    network = "network: [{name: roce, topology: fat-tree, size: 4, bandwidth: 25 GB/s}]"
    path.write_text(MIXED.replace("dgx-a100-80gb", "a100-sxm-80gb").replace("dgx-h100", "h20-sxm-96gb") + network)
    mixed, a100, h20 = load_machine(str(path)), load_machine("a100-sxm-80gb"), load_machine("h20-sxm-96gb")
    assert mixed.engine.peak("matmul", "bf16")[0].flops == h20.engine.peak("matmul", "bf16")[0].flops
    assert (mixed.main.bandwidth, mixed.main.capacity_bytes) == (a100.main.bandwidth, a100.main.capacity_bytes)
    assert mixed.links[0].bandwidth == a100.links[0].bandwidth


@pytest.mark.parametrize(
    ("old", "new", "needle"),
    [
        ("system: dgx-h100", "system: aws-p4dx2", "boxes hold 8, 16"),
        ("{system: dgx-h100, nodes: 2}", "{system: i9-10940x, nodes: 2}", "kinds cpu, gpu"),
        ("nodes: 2}\n  -", "nodes: 0}\n  -", "part of 0 nodes"),
        ("name: old", "nodes: 3\nname: old", "states its boxes once"),
        ("parts:", "system: dgx-h100\nparts:", "states its boxes once"),
    ],
)
def test_mixtures_that_make_no_sense_are_refused(tmp_path: Path, old: str, new: str, needle: str) -> None:
    path = tmp_path / "mixed.yaml"
    path.write_text(MIXED.replace(old, new))
    with pytest.raises(BadFile, match=needle):
        load_machine(str(path))


@pytest.mark.parametrize("nodes", ["0", "-3", "10000000"])
def test_counts_of_nodes_that_make_no_sense_exit_with_2(nodes: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "gpt2", "--on", "dgx-h100", "--nodes", nodes]) == 2
    assert "expected: 1 to 1,000,000" in capsys.readouterr().err


def test_what_cannot_be_joined_says_why() -> None:
    with pytest.raises(BadInput, match="no port"):
        load_machine("rtx-4090x64")
    with pytest.raises(BadInput, match="cluster already"):
        cluster(load_machine("dgx-h100x2"), 2)
    with pytest.raises(UnknownName):
        load_machine("nothing-like-itx16")
    with pytest.raises(BadInput, match="names"):
        load_machine("h100x8")


def test_lone_devices_share_a_bus_or_form_a_torus() -> None:
    cards, chips = load_machine("rtx-4090x4"), load_machine("tpu-v5px64")
    assert (cards.domains[0].topology, cards.domains[0].size) == ("tree", 4)
    assert (chips.domains[0].topology, chips.domains[0].shape) == ("torus", (4, 4, 4))
    assert load_machine("tpu-v5ex64").domains[0].topology == "mesh"  # its rings close at 16 a side


@pytest.mark.parametrize(
    ("number", "dimensions", "found"), [(4096, 3, (16, 16, 16)), (12, 2, (3, 4)), (7, 3, (1, 1, 7))]
)
def test_a_slice_is_as_cubic_as_it_can_be(number: int, dimensions: int, found: tuple[int, ...]) -> None:
    assert sides(number, dimensions) == found


def test_messages_inside_a_box_cost_the_same_in_a_cluster() -> None:
    one = explain("llama-3.1-70b", "dgx-h100", phase="decode", tp=8, batch=8)
    many = explain("llama-3.1-70b", "dgx-h100", nodes=4, phase="decode", tp=8, batch=8)
    assert float(many.time) == pytest.approx(float(one.time), rel=1e-12)


def test_tensor_parallelism_over_boxes_pays_the_network() -> None:
    inside, across = (
        explain("llama-3.1-70b", "dgx-h100x4", phase="prefill", isl=4096, tp=tp) for tp in (8, 16)
    )  # fmt: skip
    first, second = ([row for row in p.ops if row.kind == "collective"] for p in (inside, across))
    assert sum(float(row.time) for row in second) >= sum(float(row.time) for row in first)
    assert not {row.bound for row in first} & {"link:infiniband"}
    slow = explain("llama-3.1-70b", "aws-p4dx4", phase="prefill", isl=4096, tp=16)
    assert "link:efa" in {row.bound for row in slow.ops if row.kind == "collective"}
    said = [str(a.value) for a in slow.assumptions if a.what == "messages"]
    assert said
    assert all("/Simple" in way for way in said)
    swept = explain("llama-3.1-70b", "dgx-h100x4", phase="prefill", isl=4096, tp=np.array([8, 16]))
    assert np.asarray(swept.time) == pytest.approx([float(inside.time), float(across.time)], rel=1e-9)
