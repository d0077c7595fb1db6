"""nccl, oneccl, collectives_pairwise: one collective of a library among equal ranks.

time = (wire^p + network^p)^(1/p) + launch + steps

- launch: the kernel's start, once.
- steps: dependent messages, each a link's latency: 2(n − 1) round a ring for all_reduce, n − 1 for all_gather and
  reduce_scatter, one where every pair talks at once (Hockney's α; Thakur et al. 2005, §4).
- wire: bytes through a rank's link over its rate (β), ring or reduction in the switch, whichever moves less.
- network: bytes out of a box over all its ports.

What bends them: the message (protocols LL, LL128 and Simple trade latency for rate; links need bytes in flight), the
piece of it that one rank owns (where the library changes protocol and channels), the ranks, bus or links.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..._foundation.arrays import Value, log2, where
from ..._foundation.errors import BadInput
from ...hardware.machine import Machine
from ..calibration.blocks import Axis, Block
from ..calibration.samples import TABLES, Family, Rows, TableRules, Target, View, architecture_of
from . import custom_allreduce as custom_allreduce  # registers its table
from .fabric import START, Fabric, fabric

# Bytes of one element, by the tables' spellings.
ELEMENT = {"half": 2.0, "float16": 2.0, "bfloat16": 2.0, "int8": 1.0, "fp8": 1.0, "float": 4.0, "float32": 4.0}
# The tables' spellings of collectives → those of :mod:`..collective`.
COLLECTIVES = {
    "all_reduce": "all_reduce", "all_gather": "all_gather", "reduce_scatter": "reduce_scatter", "alltoall": "all_to_all",
    "all_to_all": "all_to_all", "send_recv": "send_recv",
}  # fmt: skip

SIZE, COARSE = Axis("bytes", 7, 31), Axis("bytes", 7, 31, 4)
CHUNK = Axis("chunk", 6, 30)
RANKS, BUS, NODES = Axis("ranks", 1, 5), Axis("bus", 0, 1), Axis("nodes", 0, 1)


def local(per: tuple[str, ...]) -> tuple[Block, ...]:
    """What is particular to a class: its protocol switches, by message and ranks."""
    return (
        Block("total", (SIZE,), per, (0.02,), 1e-2),
        Block("total", (SIZE, RANKS), per, (0.05, 0.2), 2e-2),
    )


def library(name: str) -> Family:
    """The family of a library measured in one box by many sizes, ranks and collectives."""
    return Family(
        name=name,
        parallel=("wire", "network"),
        serial=("launch", "steps"),
        power=2.0,
        shared=(
            Block("launch", (COARSE,), (), (0.3,)),
            Block("launch", (COARSE,), ("op",), (1.0,), 0.1),
            Block("steps", (COARSE, BUS), (), (0.3, 0.3)),
            Block("steps", (RANKS,), (), (0.3,)),
            Block("steps", (COARSE,), ("op",), (1.0,), 0.1),
            Block("wire", (CHUNK, BUS), (), (0.1, 0.1)),
            Block("wire", (RANKS, BUS), (), (0.3, 0.3)),
            Block("wire", (Axis("bytes", 7, 31, 2),), ("op",), (0.3,), 0.1),
        ),
        local=(local(("architecture", "framework", "op")), local(("device", "framework", "version", "op"))),
        spread=(Block("total", (COARSE, RANKS), (), (0.3, 0.3), 1e-6),),
        kernels=None,
    )


NCCL, ONECCL = library("nccl"), library("oneccl")

# Few boxes, few groups and bimodal times of small messages: little is shared, and a device's links and ports (a stage of
# their own) tell of a collective that was never measured on it.
PAIRWISE = Family(
    name="collectives_pairwise",
    parallel=("wire", "network"),
    serial=("launch", "steps"),
    power=2.0,
    shared=(
        Block("launch", (COARSE,), (), (1.0,)),
        Block("launch", (COARSE,), ("op",), (1.0,), 1.0),
        Block("wire", (Axis("bytes", 7, 31, 2),), (), (0.3,)),
        Block("wire", (BUS,), (), (0.3,)),
        Block("network", (COARSE,), (), (0.3,)),
        Block("network", (Axis("per_node", 0, 4),), (), (0.3,)),
    ),
    local=(
        (Block("total", (Axis("bytes", 7, 31, 2), NODES), ("device",), (0.3, 0.1), 10.0),),
        (
            Block("total", (SIZE,), ("device", "op"), (0.02,), 1e-2),
            Block("total", (SIZE, RANKS, NODES), ("device", "op"), (0.05, 0.2, 0.2), 2e-2),
        ),
    ),
    spread=(Block("total", (COARSE, RANKS), (), (0.3, 0.3), 1e-6),),
    kernels=None,
)  # fmt: skip


def view(collective: str, size: Value, group: Fabric, machine: Machine) -> View:
    """The view of one collective.

    Args:
        collective: as in :mod:`..collective`.
        size: bytes of the whole payload: what one rank holds after an all_gather, before a reduce_scatter.
        group: who talks, over what.
        machine: for the launch.
    """
    n, here, nodes = group.ranks, group.per_node, group.nodes
    if collective == "all_reduce":
        inside, between = 2.0 * (here - 1.0), 2.0 * (nodes - 1.0)
    elif collective in ("all_gather", "reduce_scatter"):
        inside, between = here - 1.0, nodes - 1.0
    else:
        inside, between = where(here > 1, 1.0, 0.0), where(nodes > 1, 1.0, 0.0)
    terms = {
        "launch": START,
        "steps": inside * group.latency + between * group.port_latency,
        "wire": group.wire(collective, size),
        "network": group.network(collective, size),
    }
    coords = {
        "bytes": log2(size), "chunk": log2(size / n), "ranks": log2(n), "bus": group.bus,
        "per_node": log2(here), "nodes": log2(nodes),
    }  # fmt: skip
    return View(terms, coords, group.least(collective, size))


def view_row(cls: Mapping[str, str], rows: Rows, machine: Machine) -> View:
    """Rows of nccl and oneccl: ``message_size`` elements."""
    name, width = cls["op_name"], cls["nccl_dtype"]
    if name not in COLLECTIVES or width not in ELEMENT:
        raise BadInput(f"{name} of {width}")
    size = rows["message_size"] * ELEMENT[width]
    if cls.get("framework") == "oneccl" and name == "all_gather":
        size = size * rows["num_gpus"]  # its benchmark counts what one rank contributes
    return view(COLLECTIVES[name], size, fabric(machine, rows["num_gpus"]), machine)


def view_pair(cls: Mapping[str, str], rows: Rows, machine: Machine) -> View:
    """Rows of collectives_pairwise: bytes, over some boxes."""
    if cls["collective"] not in COLLECTIVES:
        raise BadInput(f"collective {cls['collective']}")
    group = fabric(machine, rows["num_workers"], rows["devices_per_node"])
    return view(COLLECTIVES[cls["collective"]], rows["message_bytes"], group, machine)


def key(cls: Mapping[str, str], machine: Machine) -> dict[str, str]:
    name = cls.get("op_name") or cls.get("collective") or ""
    return {
        "device": machine.device_id, "architecture": architecture_of(machine), "framework": cls.get("framework", ""),
        "version": cls.get("version", ""), "op": COLLECTIVES.get(name, name),
    }  # fmt: skip


for fitted in (NCCL, ONECCL):
    TABLES.register(fitted.name)(
        TableRules(
            name=fitted.name,
            targets=(Target("latency", fitted, view_row),),
            measured=("latency",),
            numbers={"message_size": 1, "num_gpus": 2},
            texts=("framework", "version", "op_name", "nccl_dtype"),
            group=("op_name", "nccl_dtype", "num_gpus"),
            slices=("device", "nccl_dtype", "framework"),
            key=key,
        )
    )
TABLES.register("collectives_pairwise")(
    TableRules(
        name="collectives_pairwise",
        targets=(Target("latency", PAIRWISE, view_pair),),
        measured=("latency",),
        numbers={"message_bytes": 1, "num_workers": 2, "devices_per_node": 1},
        texts=("collective",),
        group=("collective", "num_workers"),
        slices=("system",),
        key=key,
        device=("system",),
    )
)
