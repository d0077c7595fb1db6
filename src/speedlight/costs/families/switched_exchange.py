"""moe_alltoall: TensorRT-LLM's exchange of tokens and experts' results over NVLink: prepare, dispatch, combine.

time = (wire^p + memory^p)^(1/p) + launch + tokens

A token of balanced routing goes to min(k, R) of R ranks, 1 − 1/R of them others (``power_law`` loads are not in the table).

- wire: rows to other ranks over a rank's link; dispatch in the row's format with its scales, combine in bf16, or 4 bits
  where it is said to be low precision. Prepare sends counts only.
- memory: what this rank packs, sends, receives and unpacks: each row is written and read again.
- tokens: bookkeeping of each (token, expert) pair on all SMs.
- launch: kernel start and the ranks' handshake.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..._foundation.arrays import Value, minimum
from ..._foundation.errors import BadInput
from ..._foundation.formats import bytes_per_element
from ...hardware.machine import Machine
from ..calibration.blocks import Axis, Block
from ..calibration.samples import TABLES, Family, Rows, TableRules, Target, View, architecture_of
from .fabric import START, fabric

FORMATS = {"nvfp4": "nvfp4", "bfloat16": "bf16", "fp8": "fp8"}
PAIR_CLOCKS = 1000.0  # clocks of a (token, expert) pair on one SM, before fitting

TOKENS, RANKS = Axis("tokens", 0, 16), Axis("ranks", 1, 6)
OP = ("op", "kernel")


def local(per: tuple[str, ...]) -> tuple[Block, ...]:
    return (
        Block("total", (TOKENS, RANKS), per, (0.05, 0.1), 1e-2),
        Block("total", (Axis("bytes", 8, 36, 2), RANKS), per, (0.3, 0.1), 5e-2),
    )


FAMILY = Family(
    name="moe_alltoall",
    parallel=("wire", "memory"),
    serial=("launch", "tokens"),
    power=3.0,
    shared=(
        Block("launch", (RANKS,), (), (0.3,)),
        Block("launch", (RANKS,), OP, (0.3,), 2.0),
        Block("wire", (Axis("bytes", 8, 36, 2),), (), (0.3,)),
        Block("wire", (Axis("bytes", 8, 36, 4),), OP, (0.3,), 0.05),
        Block("wire", (RANKS,), OP, (0.3,), 2.0),
        Block("memory", (Axis("bytes", 8, 36, 4),), OP, (0.3,), 0.05),
        Block("tokens", (Axis("tokens", 0, 16, 4),), OP, (0.3,), 0.05),
    ),
    local=(
        local(("architecture", "framework", "op", "kernel")),
        local(("device", "framework", "version", "op", "kernel", "format")),
    ),
    spread=(Block("total", (Axis("tokens", 0, 16, 4),), (), (0.3,), 1e-6),),
    kernels="kernel",
    choice=("ranks",),
)  # fmt: skip


def view(op: str, row: float, tokens: Value, hidden: Value, topk: Value, ranks: Value, machine: Machine) -> View:
    """The view of one operation.

    Args:
        op: ``alltoall_prepare``, ``alltoall_dispatch`` or ``alltoall_combine…``.
        row: bytes of an element on the way.
        tokens: of one rank.
        hidden: elements of a token.
        topk: experts of a token.
        ranks: over which the experts are spread.
        machine: one of the ranks.
    """
    group = fabric(machine, ranks)
    met = minimum(topk, ranks)
    payload = tokens * hidden * row
    sent = payload * met * (1.0 - 1.0 / ranks)
    pairs = tokens * topk
    moving = op != "alltoall_prepare"
    counts = pairs * 4.0 * (1.0 - 1.0 / ranks)
    wire = (sent if moving else counts) / group.bandwidth
    memory = (2.0 * payload * met if moving else counts) / machine.main.bandwidth
    terms = {
        "wire": wire,
        "memory": memory,
        "launch": START,
        "tokens": pairs * PAIR_CLOCKS / (machine.engine.units * machine.engine.clock_hz),
    }
    coords = {
        "tokens": np.log2(tokens), "ranks": np.log2(ranks), "bytes": np.log2(payload * met if moving else counts + 1.0),
    }  # fmt: skip
    return View(terms, coords, (sent if moving else 0.0 * sent) / group.ceiling)


def view_row(cls: Mapping[str, str], rows: Rows, machine: Machine) -> View:
    """A class of the table's rows."""
    op, width = cls["op_name"], cls["moe_dtype"]
    if width not in FORMATS or not op.startswith("alltoall_"):
        raise BadInput(f"{op} of {width}")
    if op == "alltoall_combine":
        row = 2.0
    else:
        row = bytes_per_element("nvfp4" if op.endswith("low_precision") else FORMATS[width])
    return view(op, row, rows["num_tokens"], rows["hidden_size"], rows["topk"], rows["moe_ep_size"], machine)


def key(cls: Mapping[str, str], machine: Machine) -> dict[str, str]:
    return {
        "device": machine.device_id, "architecture": architecture_of(machine), "framework": cls.get("framework", ""),
        "version": cls.get("version", ""), "format": cls["moe_dtype"], "op": cls["op_name"],
        "kernel": cls.get("kernel_source", ""),
    }  # fmt: skip


TABLES.register("moe_alltoall")(
    TableRules(
        name="moe_alltoall",
        targets=(Target("latency", FAMILY, view_row),),
        measured=("latency",),
        numbers={"num_tokens": 1, "hidden_size": 1, "topk": 1, "num_experts": 1, "moe_ep_size": 2},
        texts=("framework", "version", "op_name", "moe_dtype", "kernel_source", "distribution"),
        group=("op_name", "moe_dtype", "moe_ep_size"),
        slices=("device", "moe_dtype", "framework"),
        key=key,
    )
)
