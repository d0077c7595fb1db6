"""Tables moe and wideep_moe: rows → :mod:`.expert_mlp`'s view.

moe gives the distribution of tokens over experts and asks for the time of one rank: the busiest.

wideep_moe is the expert MLP of rank 0 under wide expert parallelism, after the exchange of tokens: the same terms and
blocks, fitted apart. What differs is what is known of the load: the table gives the
tokens that reached rank 0, n. If every pick falls on the rank with chance p, a token of k picks misses it with
(1 − p)^k, so that n = T (1 − (1 − p)^k) and the rank's rows are T k p. Where (nearly) all tokens reach it that says
nothing, and rows are those of the distribution. With a load balancer (``_eplb``) experts (and copies of hot ones, in
``num_slots`` slots) are placed so that all ranks hold the mean load.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from ..._foundation.arrays import Value
from ..._foundation.errors import BadInput
from ...hardware.machine import Machine
from ..calibration.samples import TABLES, Rows, TableRules, Target, View, architecture_of
from . import expert_load
from .expert_kernels import MARLIN, code_of, usual_code
from .expert_load import TILES, Load
from .expert_mlp import FAMILY, FORMATS, GROUPS, Experts, view

# Experts without a gate (two matrices, squared ReLU) are no column of the table. Published configs of this kind
# (Nemotron-3: hidden_act relu2) are told by their shape: 22 picks of 512 in a latent space, or 2688 x 1856.
UNGATED_PICKS = 22.0
UNGATED_SHAPE = (2688.0, 1856.0)
DEEPSEEK_V3 = (7168.0, 256.0)  # hidden, experts

# Benchmarks that kept a token's picks on the rank (:func:`picks_stay`): SGLang's of this version, on all shapes, and of all versions
# for Gemma 4's experts (the only ones with GELU; the shape is its config's).
EARLY = ("sglang", "0.5.10")
# A benchmark that leaves the few picks that rounding drops to the first experts, all on rank 0: one token takes an A100 490 us on 1 to 32
# ranks, with weights of eight experts.
FIRST_EXPERTS = ("vllm", "0.14.0")
# Benchmarks that gave all experts a gate: on an A100 rows of both shapes without one take what three matrices take (0.83 of the memory's
# rate, as other shapes', for three; 1.2 times it on later versions' devices). Nor did they route by DeepSeek-V3's rule: its shape takes an
# A100 as long as the one of 384 experts on any number of ranks.
EARLIER = (EARLY, FIRST_EXPERTS)
GELU = (2816.0, 704.0)  # hidden, inter

# Marlin's experts multiply the picks of all tokens on every rank here, whichever rank holds them: an RTX PRO 6000, 128 experts on 64 ranks, 512 tokens
# take 5.4 times as long as in vLLM, on one rank 1.06 times (framework, format).
ALL_PICKS = ("sglang", "w4a16_mxfp4")

WIDE = dataclasses.replace(FAMILY, name="wideep_moe")
BALANCER = "_eplb"


def view_row(cls: Mapping[str, str], rows: Rows, machine: Machine) -> View:
    """A class of the table's rows."""
    number_format = cls["moe_dtype"]
    if number_format not in FORMATS:
        raise BadInput(f"moe_dtype {number_format}")
    exponent = expert_load.exponent_of(cls["distribution"])
    hidden, inter, picks = rows["hidden_size"], rows["inter_size"], rows["topk"]
    ungated = (picks == UNGATED_PICKS) | ((hidden == UNGATED_SHAPE[0]) & (inter == UNGATED_SHAPE[1]))
    if stack_of(cls) in EARLIER:
        ungated = np.zeros_like(ungated)
    tp, ep = rows["moe_tp_size"], rows["moe_ep_size"]
    part = Experts(
        rows["num_tokens"], hidden, inter / tp, picks, rows["num_experts"], tp, ep, np.where(ungated, 0.0, 1.0),
        *FORMATS[number_format],
    )  # fmt: skip
    part, found = rank_of(cls, part, exponent)
    framework = cls.get("framework", "")
    code = code_of(cls.get("kernel_source", ""), framework, number_format, machine)
    if code.name == MARLIN and (framework, number_format) == ALL_PICKS:
        found = every_pick(part, found)
    return view(part, found, 1.0 if exponent is None else 0.0, machine, code)


def stack_of(cls: Mapping[str, str]) -> tuple[str, str]:
    return cls.get("framework", ""), cls.get("version", "")


def rank_of(cls: Mapping[str, str], part: Experts, exponent: float | None) -> tuple[Experts, Load]:
    """The busiest rank and its load as the class's benchmark lets it fall."""
    evenly = stack_of(cls) != FIRST_EXPERTS
    found = expert_load.load(part.tokens, part.picks, part.experts, part.ep, exponent, evenly)
    under_rule = groups_limited(cls, part, exponent)
    if under_rule.any():
        sizes = np.broadcast_arrays(part.tokens, part.picks, part.experts, part.ep)
        tokens, picks, experts, ep = (v[under_rule] for v in sizes)
        found = _placed(found, under_rule, expert_load.limited(tokens, picks, experts, ep, exponent))
    return alone(part, found, exponent, picks_stay(cls, part))


def groups_limited(cls: Mapping[str, str], part: Experts, exponent: float | None) -> np.ndarray:
    """Rows whose picks DeepSeek-V3's rule changed, whatever pattern the benchmark handed over.

    SGLang and vLLM route its own shape by it (times of all their kernels say so), TensorRT-LLM's low-latency kernel, which routes
    itself, every shape of eight even picks.
    """
    eight: np.ndarray = part.picks == 8.0
    if "min_latency" in cls.get("kernel_source", ""):
        return eight & (exponent is None)
    source = stack_of(cls)
    if source[0] not in ("sglang", "vllm") or source in EARLIER:
        return np.zeros_like(eight)
    own: np.ndarray = eight & (part.hidden == DEEPSEEK_V3[0]) & (part.experts == DEEPSEEK_V3[1])
    return own


def picks_stay(cls: Mapping[str, str], part: Experts) -> np.ndarray:
    """Rows whose benchmark gave a rank the tokens that reach it with all their picks among its own experts.

    Their times say so: they go on halving with the number of ranks, where those of other rows reach the floor of passes over every
    token, and skewed picks take as long as the tokens that reach the busiest rank (:func:`.expert_load.reached`) have picks.
    """
    whole = stack_of(cls) == EARLY
    named = (cls.get("framework", "") == EARLY[0]) & (part.hidden == GELU[0]) & (part.inter * part.tp == GELU[1])
    return np.broadcast_to(named | whole, np.shape(part.tokens))


def alone(part: Experts, found: Load, exponent: float | None, at: np.ndarray) -> tuple[Experts, Load]:
    """Rows ``at`` as a rank without others: fewer tokens and experts, and no picks that go elsewhere."""
    if not at.any():
        return part, found
    sizes = np.broadcast_arrays(part.tokens, part.picks, part.experts, part.ep)
    own, picks, experts, ep = (v[at] for v in sizes)
    own = np.maximum(expert_load.reached(own, picks, experts, ep, exponent), 1.0)
    tokens = np.array(np.broadcast_to(part.tokens, at.shape), dtype=float)
    tokens[at] = own
    rows = np.where(at, np.maximum(tokens * part.picks, found.rows), found.rows)
    held = np.where(at, np.maximum(part.experts / part.ep, 1.0), part.experts)
    rank = dataclasses.replace(part, tokens=tokens, experts=held, ep=np.where(at, 1.0, part.ep))
    return rank, _with_rows(found, rows)


def every_pick(part: Experts, found: Load) -> Load:
    """The load of a rank that multiplies every pick of every token."""
    return _with_rows(found, np.maximum(part.tokens * part.picks, found.rows))


def _with_rows(found: Load, rows: np.ndarray) -> Load:
    """A load of more rows, the new ones in tiles that are full."""
    tiles = {height: count + (rows - found.rows) / height for height, count in found.tiles.items()}
    return dataclasses.replace(found, rows=rows, tiles=tiles)


def _placed(found: Load, at: np.ndarray, own: Load) -> Load:
    """A load whose rows ``at`` are another's."""

    def put(whole: Value, part: Value) -> np.ndarray:
        result = np.broadcast_to(np.asarray(whole, dtype=float), at.shape).copy()
        result[at] = part
        return result

    tiles = {height: put(count, own.tiles[height]) for height, count in found.tiles.items()}
    names = (f.name for f in dataclasses.fields(Load) if f.name != "tiles")
    return Load(tiles=tiles, **{name: put(getattr(found, name), getattr(own, name)) for name in names})


def wide_row(cls: Mapping[str, str], rows: Rows, machine: Machine) -> View:
    """A class of wideep_moe's rows."""
    if cls["moe_dtype"] not in FORMATS:
        raise BadInput(f"moe_dtype {cls['moe_dtype']}")
    balancer = cls["distribution"].endswith(BALANCER)
    exponent = expert_load.exponent_of(cls["distribution"].removesuffix(BALANCER))
    tp, ep = rows["moe_tp_size"], rows["moe_ep_size"]
    reached = np.maximum(rows["rank0_num_tokens"], 1.0)
    part = Experts(
        reached, rows["hidden_size"], rows["inter_size"] / tp, rows["topk"], rows["num_slots"], tp, ep,
        np.ones_like(tp), *FORMATS[cls["moe_dtype"]],
    )  # fmt: skip
    found = rank_load(rows["num_tokens"], reached, part, rows["num_experts"], exponent, balancer)
    return view(part, found, 1.0 if balancer else 0.0, machine)


def rank_load(
    tokens: np.ndarray, reached: np.ndarray, part: Experts, experts: np.ndarray, exponent: float | None, balancer: bool
) -> Load:
    """Load of rank 0 given how many tokens reached it.

    A token that reaches it has as many picks there as one that reaches the busiest of drawn ranks. What rounding leaves over goes to
    the first experts, so that rank 0 has all of few picks.

    A balancer gives the rank its share of the slots with picks, copies of hot experts among them, and the mean load, unless one expert
    alone brings more. Of an expert with a copy on rank 0 it is that copy that is picked: one token's eight experts with 32 copies
    beside them are all eight on the first of two ranks, three on the first of 16 (times of 288 slots, over those of 256).

    Args:
        part: the rank's sizes; its experts are slots.
        experts: distinct experts in these slots.
    """
    picks, ep, held = part.picks, part.ep, np.maximum(part.experts / part.ep, 1.0)
    drawn = expert_load.load(tokens, picks, experts, ep, exponent, evenly=balancer)
    if balancer:
        whole = expert_load.load(tokens, picks, experts, np.ones_like(ep), exponent).distinct
        distinct = np.minimum(whole, np.ceil((whole + part.experts - experts) / ep))
        rows = np.maximum(np.maximum(tokens * picks / ep, 1.0), distinct)
    else:
        distinct = drawn.distinct
        rows = reached * drawn.rows / expert_load.reached(tokens, picks, experts, ep, exponent, evenly=False)
    rows = np.clip(rows, reached, reached * np.minimum(picks, held))
    distinct = np.minimum(np.minimum(distinct, held), rows)
    scale = rows / drawn.rows
    tiles = {height: np.maximum(drawn.tiles[height] * scale, distinct) for height in TILES}
    return Load(distinct, rows, tiles, np.ones_like(rows), reached)


def key(cls: Mapping[str, str], machine: Machine) -> dict[str, str]:
    return {
        "device": machine.device_id, "architecture": architecture_of(machine), "framework": cls.get("framework", ""),
        "version": cls.get("version", ""), "format": cls["moe_dtype"], "op": GROUPS[cls["moe_dtype"]],
        "kernel": cls.get("kernel_source", ""),
        "code": usual_code(cls.get("framework", ""), cls["moe_dtype"], machine).written,
    }  # fmt: skip


TABLES.register("moe")(
    TableRules(
        name="moe",
        targets=(Target("latency", FAMILY, view_row),),
        measured=("latency",),
        numbers={
            "num_tokens": 1, "hidden_size": 1, "inter_size": 1, "topk": 1, "num_experts": 1, "moe_tp_size": 1,
            "moe_ep_size": 1,
        },
        texts=("framework", "version", "moe_dtype", "kernel_source", "distribution"),
        group=("hidden_size", "inter_size", "topk", "num_experts"),
        slices=("system", "moe_dtype", "framework"),
        key=key,
    )
)  # fmt: skip


TABLES.register("wideep_moe")(
    TableRules(
        name="wideep_moe",
        targets=(Target("latency", WIDE, wide_row),),
        measured=("latency",),
        numbers={
            "num_tokens": 1, "rank0_num_tokens": 0, "hidden_size": 1, "inter_size": 1, "topk": 1, "num_experts": 1,
            "num_slots": 1, "moe_tp_size": 1, "moe_ep_size": 1,
        },
        texts=("framework", "version", "moe_dtype", "kernel_source", "distribution"),
        group=("hidden_size", "inter_size", "topk", "num_experts"),
        slices=("system", "moe_dtype", "framework"),
        key=key,
    )
)  # fmt: skip
