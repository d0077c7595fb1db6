"""custom_allreduce: the all-reduce an engine runs on messages of a layer: its own kernels, its library for large ones.

time = (host^p + wire^p)^(1/p) + launch + steps + copy

- host: an eager call's dispatch, which hides behind the kernel; a captured graph has none.
- launch, steps: the kernel's start; flags between ranks, a link's latency each. One shot (every rank reads all peers'
  messages) takes two, two shots (reduce-scatter, all-gather) four, a ring 2(n − 1).
- wire: (n − 1)·S through a rank's link in one shot, 2(n − 1)/n·S in two; of messages too large for the engine's own
  kernels, what the library moves.
- copy: an eager call's input is no registered buffer: it is copied, one read and one write of main memory.

More than two ranks need direct links, else the library serves all sizes. vLLM's switch points are its source's
(csrc/custom_all_reduce.cuh, custom_all_reduce.py: two ranks always one shot, four below 512 KiB, eight below 256 KiB,
that is about 1.5 MiB into each rank; 8 MiB at most); SGLang's and TensorRT-LLM's were read off the measurements, where
slopes change. They are sizes, so that no rate decides what runs.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..._foundation.arrays import Value, log2, maximum, where
from ..._foundation.errors import BadInput
from ...hardware.machine import Machine
from ..calibration.blocks import Axis, Block
from ..calibration.samples import TABLES, Family, Rows, TableRules, Target, View, architecture_of
from .fabric import START, Fabric, fabric

ELEMENT = {"bfloat16": 2.0, "half": 2.0, "float16": 2.0, "float32": 4.0, "float": 4.0}
HIDDEN = 2.0**20  # bytes below which an eager call's kernel hides behind its dispatch
MIB = 2.0**20
# Engine → (bytes into a rank below which one shot is taken, largest message of its own kernels); others as vLLM.
SWITCHES = {"vllm": (1.5 * MIB, 8 * MIB), "sglang": (4 * MIB, 16 * MIB), "trtllm": (12 * MIB, 16 * MIB)}
DISPATCH = 2e-5  # seconds of an eager call on the host, before fitting

SIZE, COARSE = Axis("bytes", 8, 30), Axis("bytes", 8, 32, 4)
RANKS, BUS, KIND = Axis("ranks", 1, 4), Axis("bus", 0, 1), Axis("kind", 0, 2)


def local(per: tuple[str, ...]) -> tuple[Block, ...]:
    """What is particular to a class: where it changes algorithm, and how that depends on ranks."""
    return (
        Block("total", (SIZE,), per, (0.02,), 1e-2),
        Block("total", (Axis("bytes", 8, 30, 2), Axis("span", 1, 3, 2)), per, (0.1, 0.5), 5e-2),
    )


FAMILY = Family(
    name="custom_allreduce",
    parallel=("host", "wire"),
    serial=("launch", "steps", "copy"),
    power=3.0,
    shared=(
        Block("host", (COARSE,), (), (1.0,)),
        Block("host", (COARSE,), ("framework",), (1.0,), 0.1),
        Block("launch", (COARSE,), (), (1.0,)),
        Block("launch", (COARSE,), ("framework",), (1.0,), 0.1),
        Block("steps", (KIND, BUS), (), (0.1, 0.4)),
        Block("wire", (Axis("bytes", 8, 30, 2), KIND), (), (0.3, 0.1)),
        Block("wire", (Axis("bytes", 8, 30, 2), KIND), ("framework",), (0.3, 0.1), 0.1),
        Block("wire", (RANKS, BUS), (), (0.5, 0.4)),
        Block("copy", (COARSE,), (), (1.0,)),
    ),
    local=(local(("architecture", "framework", "op")), local(("device", "framework", "version", "op"))),
    spread=(Block("total", (COARSE, RANKS), (), (0.3, 0.3), 1e-6),),
    kernels=None,
)  # fmt: skip


def view(size: Value, ranks: Value, eager: bool, engine: str, machine: Machine) -> View:
    """The view of one all-reduce among ``ranks`` neighbours of one box; else as :func:`view_of`."""
    return view_of(size, fabric(machine, ranks), eager, engine, machine)


def view_of(size: Value, group: Fabric, eager: bool, engine: str, machine: Machine) -> View:
    """The view of one all-reduce.

    Args:
        size: bytes of the message each rank holds.
        group: who talks, in one box, over what.
        eager: launched by the host call by call, rather than from a captured graph.
        engine: whose kernels.
        machine: where.
    """
    one_shot, largest = SWITCHES.get(engine, SWITCHES["vllm"])
    n = group.ranks
    direct = (group.bus == 0) | (n <= 2)
    flow = maximum(n - 1.0, 1.0) * size
    small = (n <= 2) | (flow < one_shot)
    own = direct & (size <= largest)
    kind = where(own, where(small, 0.0, 1.0), 2.0)
    many = where(n > 1, 1.0, 0.0)
    amount = where(small, n - 1.0, 2.0 * (n - 1.0) / n) * size
    terms = {
        "host": DISPATCH if eager else 0.0,
        "launch": START,
        "steps": many * where(own, where(small, 2.0, 4.0), 2.0 * (n - 1.0)) * group.latency,
        "wire": where(own, group.passing(amount), group.wire("all_reduce", size)),
        "copy": 2.0 * size / machine.main.bandwidth if eager else 0.0,
    }
    reached = log2(n)
    coords = {
        "bytes": log2(size), "ranks": reached, "bus": group.bus, "kind": kind,
        "span": where((size < HIDDEN) & (n > 1), 2.0, reached) if eager else reached,
    }  # fmt: skip
    return View(terms, coords, group.least("all_reduce", size))


def view_row(cls: Mapping[str, str], rows: Rows, machine: Machine) -> View:
    """A class of the table's rows."""
    if cls["allreduce_dtype"] not in ELEMENT:
        raise BadInput(f"allreduce_dtype {cls['allreduce_dtype']}")
    size = rows["message_size"] * ELEMENT[cls["allreduce_dtype"]]
    return view(size, rows["num_gpus"], _eager(cls), cls.get("framework", ""), machine)


def _eager(cls: Mapping[str, str]) -> bool:
    """The mode as ``backend`` states it; engines capture graphs unless told otherwise."""
    return "eager" in cls.get("backend", "")


def key(cls: Mapping[str, str], machine: Machine) -> dict[str, str]:
    return {
        "device": machine.device_id, "architecture": architecture_of(machine), "framework": cls.get("framework", ""),
        "version": cls.get("version", ""), "op": "eager" if _eager(cls) else "graph",
    }  # fmt: skip


TABLES.register("custom_allreduce")(
    TableRules(
        name="custom_allreduce",
        targets=(Target("latency", FAMILY, view_row),),
        measured=("latency",),
        numbers={"message_size": 1, "num_gpus": 2},
        texts=("framework", "version", "allreduce_dtype", "backend"),
        group=("allreduce_dtype", "num_gpus"),
        slices=("device", "allreduce_dtype", "framework"),
        key=key,
    )
)
