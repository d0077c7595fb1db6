"""deepep_normal, deepep_low_latency: tokens to the ranks of their experts (dispatch) and back (combine), by DeepEP.

time = (link^p + network^p + copy^p)^(1/p) + launch + tokens

Normal mode sends a token once to every rank that holds one of its experts (DeepEP README: 8-bit rows out, 16-bit rows
back); of ``k`` distinct experts out of ``E``, E/R on each of R ranks, the ranks met number R·(1 − C(E − E/R, k)/C(E, k))
on average, and 1 − 1/R of them are others.

- link: rows to other ranks of the box, over a rank's link.
- network: rows to other boxes, once each, over a rank's port. No row of the tables crosses boxes: not fitted.
- copy: a few SMs move the rows, 8 bytes a clock each (before fitting): until they saturate the links, time falls with
  their number.
- tokens: a token's bookkeeping on the SM that owns it, a thousand clocks (before fitting).
- launch: kernel start and the ranks' handshake; it grows a little with a row's length.

Low-latency mode sends a row for every expert, not for every rank, from all SMs. Rows with few experts are slow there (16
experts: 4 times the time of 128), as if what one rank sends to one expert were drained serially: ``copy`` says so, read
off the measurements, not off the source. ``steps`` is a handshake with every rank.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..._foundation.arrays import Value, maximum, minimum, where
from ...hardware.machine import Machine
from ..calibration.blocks import Axis, Block
from ..calibration.samples import TABLES, Family, Rows, TableRules, Target, View, architecture_of
from . import switched_exchange as switched_exchange  # registers its table
from .fabric import START, fabric

BOX, TRAY = 8.0, 4.0  # GPUs that share a host: an HGX board; a tray of two superchips (GB200 NVL72)
PORT = 50e9  # bytes/s of the 400 Gbit/s port beside each GPU of DeepEP's README; assumed where the machine states none
ROW_OUT, ROW_BACK = 1.0, 2.0  # bytes of an element: fp8 (scales, 3 %, left out) and bf16
# Of low-latency mode: starts and grid-wide barriers, share of a link's latency for each rank. Set by hand so that trays of
# four (GB200) follow from boards of eight; no other device of the tables tells them apart.
PHASES, HANDSHAKE = 4.0, 0.5
SM_BYTES, TOKEN_CLOCKS, DRAIN_BYTES = 8.0, 1000.0, 2.0

T = Axis("tokens", 0, 18)
DEVICE, ARCHITECTURE = ("device", "framework", "version"), ("architecture", "framework")


def normal(name: str) -> Family:
    """A direction of normal mode."""

    def local(per: tuple[str, ...]) -> tuple[Block, ...]:
        return (
            Block("total", (Axis("tokens", 0, 18), Axis("sms", 1.5, 5, 0.5)), per, (0.05, 0.1), 1e-2),
            Block("total", (Axis("hidden", 11, 13, 0.5), Axis("distinct", 0, 3)), per, (0.1, 0.1), 1e-2),
            Block("total", (Axis("work", 8, 30),), per, (0.1,), 1e-2),
        )

    return Family(
        name=name,
        parallel=("link", "network", "copy"),
        serial=("launch", "tokens"),
        power=4.0,
        shared=(
            Block("launch", (Axis("hidden", 11, 13, 0.5),), (), (0.3,)),
            Block("launch", (Axis("tokens", 0, 18, 3),), (), (1.0,)),
            Block("copy", (Axis("sms", 1.5, 5, 0.5),), (), (0.1,)),
            Block("copy", (Axis("hidden", 11, 13, 0.5), Axis("distinct", 0, 3)), (), (0.1, 0.1)),
            Block("copy", (Axis("work", 8, 30, 2),), (), (0.3,)),
            Block("link", (Axis("hidden", 11, 13, 0.5),), (), (0.3,)),
            Block("link", (Axis("distinct", 0, 3),), (), (0.3,)),
            Block("tokens", (Axis("distinct", 0, 3),), (), (0.3,)),
            Block("tokens", (Axis("spread", -6, 16, 2),), (), (0.3,)),
        ),
        local=(local(ARCHITECTURE), local(DEVICE)),
        spread=(Block("total", (Axis("tokens", 0, 18, 3),), (), (0.3,), 1e-6),),
        kernels=None,
    )  # fmt: skip


def quick(name: str) -> Family:
    """A direction of low-latency mode."""

    def local(per: tuple[str, ...]) -> tuple[Block, ...]:
        return (
            Block("total", (Axis("tokens", 0, 11), Axis("hidden", 11, 13)), per, (0.1, 0.3), 1e-2),
            Block("total", (Axis("sent", 10, 28),), per, (0.1,), 1e-2),
            Block("total", (Axis("experts", 3, 9), Axis("tokens", 0, 12, 3)), per, (0.1, 0.1), 1e-2),
        )

    return Family(
        name=name,
        parallel=("link", "network", "copy"),
        serial=("launch", "steps", "tokens"),
        power=4.0,
        shared=(
            Block("launch", (Axis("experts", 3, 9),), (), (0.3,)),
            Block("launch", (Axis("hidden", 11, 13),), (), (0.3,)),
            Block("copy", (Axis("pair", 8, 24, 2),), (), (0.3,)),
            Block("copy", (Axis("experts", 3, 9),), (), (0.3,)),
            Block("link", (Axis("sent", 10, 28, 2),), (), (0.3,)),
            Block("link", (Axis("topk", 0, 4),), (), (0.3,)),
            Block("tokens", (Axis("tokens", 0, 12, 3),), (), (0.3,)),
        ),
        local=(local(ARCHITECTURE), local(DEVICE)),
        spread=(Block("total", (Axis("tokens", 0, 12, 3),), (), (0.3,), 1e-6),),
        kernels=None,
    )  # fmt: skip


def distinct(bins: Value, topk: Value, experts: Value) -> Value:
    """Mean number of ``bins`` (ranks, boxes) that ``topk`` distinct experts, spread evenly over them, fall on."""
    own = experts / bins
    missed: Value = 1.0
    for drawn in range(int(np.max(topk))):
        chance = maximum(1.0 - own / maximum(experts - drawn, 1.0), 0.0)
        missed = missed * where(drawn < topk, chance, 1.0)
    return bins * (1.0 - missed)


def _box(machine: Machine) -> float:
    return TRAY if any(link.name.endswith("c2c") for link in machine.links) else BOX


def view(
    tokens: Value, hidden: Value, topk: Value, experts: Value, nodes: Value, sms: Value | None, element: float,
    machine: Machine,
) -> View:  # fmt: skip
    """The view of one direction.

    Args:
        tokens: of one rank.
        hidden: elements of a row.
        topk, experts: experts of a token, and in all.
        nodes: boxes.
        sms: SMs that move rows in normal mode; None means low-latency mode.
        element: bytes of an element on the way.
        machine: one of the ranks.
    """
    here = minimum(_box(machine), experts)
    ranks = here * nodes
    group = fabric(machine, ranks, here)
    met = distinct(ranks, topk, experts) if sms is not None else topk
    boxes = distinct(nodes, topk, experts) if sms is not None else topk
    row = hidden * element
    stay = 1.0 / ranks
    # A row for another box arrives at a rank there and goes on over that box's links: the links carry it all the same.
    link = tokens * row * met * (1.0 - stay)
    port = tokens * row * where(nodes > 1, boxes * (1.0 - 1.0 / nodes), 0.0)
    rate = group.port if group.port_known else PORT
    clock = machine.engine.clock_hz
    if sms is not None:
        workers, copied = sms, tokens * row * met / (sms * SM_BYTES)
    else:
        workers, copied = machine.engine.units, tokens * topk / experts * row / DRAIN_BYTES
    terms = {
        "link": link / group.bandwidth,
        "network": port / rate,
        "copy": copied / clock,
        "tokens": tokens * TOKEN_CLOCKS / (workers * clock),
        "launch": (1.0 if sms is not None else PHASES) * START,
        "steps": HANDSHAKE * (ranks - 1.0) * group.latency if sms is None else 0.0,
    }
    coords = {
        "tokens": np.log2(tokens), "hidden": np.log2(hidden), "distinct": np.log2(met), "topk": np.log2(topk),
        "experts": np.log2(experts), "sms": np.log2(workers), "spread": np.log2(tokens / workers),
        "work": np.log2(tokens * hidden * met / workers), "sent": np.log2(tokens * hidden * topk),
        "pair": np.log2(maximum(tokens * topk / experts, 1.0) * hidden),
    }  # fmt: skip
    across = port / rate if group.port_known else 0.0
    return View(terms, coords, maximum(link / group.ceiling, across))


def _row_view(element: float, sms: str | None) -> Callable[[Mapping[str, str], Rows, Machine], View]:
    def see(cls: Mapping[str, str], rows: Rows, machine: Machine) -> View:
        return view(
            rows["num_token"], rows["hidden_size"], rows["num_topk"], rows["num_experts"], rows["node_num"],
            None if sms is None else rows[sms], element, machine,
        )  # fmt: skip

    return see


def _sent(element: float) -> Callable[[Rows], np.ndarray]:
    """Gigabytes as the benchmark counts them: a row for every expert, 8-bit rows with a scale for each 128 elements."""

    def amount(rows: Rows) -> np.ndarray:
        hidden = rows["hidden_size"]
        row = hidden + hidden / 128.0 * 4.0 + 16.0 if element == ROW_OUT else 2.0 * hidden
        return np.asarray(rows["num_token"] * rows["num_topk"] * row / 1e9)

    return amount


def key(cls: Mapping[str, str], machine: Machine) -> dict[str, str]:
    return {
        "device": machine.device_id, "architecture": architecture_of(machine), "framework": cls.get("framework", ""),
        "version": cls.get("version", ""),
    }  # fmt: skip


NUMBERS = {"num_token": 1.0, "hidden_size": 1.0, "num_topk": 1.0, "num_experts": 1.0, "node_num": 1.0}
GROUP = ("hidden_size", "num_topk", "num_experts", "node_num")

TABLES.register("deepep_normal")(
    TableRules(
        name="deepep_normal",
        targets=(
            Target("dispatch_transmit_us", normal("deepep_dispatch"), _row_view(ROW_OUT, "dispatch_sms"), 1e-6),
            Target("combine_transmit_us", normal("deepep_combine"), _row_view(ROW_BACK, "combine_sms"), 1e-6),
        ),
        measured=("dispatch_transmit_us", "combine_transmit_us", "dispatch_notify_us", "combine_notify_us"),
        numbers={**NUMBERS, "dispatch_sms": 1.0, "combine_sms": 1.0},
        texts=("framework", "version"),
        group=GROUP,
        slices=("device", "framework"),
        key=key,
    )
)
TABLES.register("deepep_low_latency")(
    TableRules(
        name="deepep_low_latency",
        targets=(
            Target("dispatch_avg_t_us", quick("deepep_ll_dispatch"), _row_view(ROW_OUT, None), 1e-6),
            Target("combine_avg_t_us", quick("deepep_ll_combine"), _row_view(ROW_BACK, None), 1e-6),
        ),
        measured=("dispatch_avg_t_us", "combine_avg_t_us", "dispatch_bandwidth_gbps", "combine_bandwidth_gbps"),
        numbers=NUMBERS,
        texts=("framework", "version"),
        group=GROUP,
        slices=("device", "framework"),
        key=key,
        rates={
            "dispatch_bandwidth_gbps": ("dispatch_avg_t_us", _sent(ROW_OUT)),
            "combine_bandwidth_gbps": ("combine_avg_t_us", _sent(ROW_BACK)),
        },
    )
)
