"""module_mla_*: a whole latent-attention layer, from the hidden state to the output projection (DeepSeek-V3).

Terms, one after another: ``project`` (the products, each limited by the matrix unit or by streaming its weights),
``attend`` (decode: absorbed, all heads read one latent a token; prefill: expanded and causal), ``stream`` (norms, rotary
positions, cache write, quantising activations: passes over activations), ``launch`` (a count of kernels).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..._foundation.arrays import Value, ceil, maximum
from ..._foundation.errors import BadInput
from ...hardware.machine import Machine
from ..calibration.blocks import Axis, Block
from ..calibration.samples import TABLES, Family, Rows, TableRules, Target, View, instructions_of
from . import module_terms as mt
from .in_models import launch_seconds
from .latent import ELEMENT, FORMAT, flops_peak, over_cache, warm_limit
from .module_terms import Latent, Product, product
from .warm import fetched

# Share of a unit's matrix rate that a kernel reaches which reads a whole sequence on one unit, 64 heads at a time: TensorRT-LLM's takes 118 us
# a thousand tokens on an A100 (mla_decode), whatever the heads and however many units are idle.
UNIT_SHARE = 0.41
KERNELS = 10.0  # kernels of a layer whose products are not quantised: 6 products, norms, rotary, cache write, attention

COUNTED = ("project", "attend", "stream")  # terms whose FLOPs and bytes are known; launches and waits are not
SHARED = (
    Block("project", (mt.TOKENS,), (), (0.1,)),
    Block("project", (mt.TOKENS4, mt.HEADS2), ("framework", "format"), (0.3, 0.3), 0.1),
    Block("project", (Axis("weights", -8, 6, 2),), (), (0.3,)),
    Block("stream", (mt.TOKENS4,), ("framework", "format"), (0.3,), 0.1),
    Block("launch", (mt.TOKENS4,), ("framework", "format"), (0.3,), 0.03),
    Block("launch", (mt.HEADS2,), (), (0.3,), 0.1),
)

DECODE = Family(
    name="module_mla_decode",
    parallel=(),
    serial=("project", "attend", "unsplit", "stream", "launch"),
    shared=(
        *SHARED,
        Block("unsplit", (mt.LENGTH2,), mt.VARIANT, (0.3,), 0.1),
        Block("attend", (Axis("waves", -8, 10),), (), (0.1,)),
        Block("attend", (mt.HEADS,), (), (0.1,)),
        Block("attend", (mt.CACHE,), (), (0.1,)),
        Block("attend", (mt.LENGTH2,), mt.VARIANT, (0.3,), 0.1),
    ),
    local=(mt.decode_local(mt.STACK), mt.decode_local(mt.ARCHITECTURE), mt.decode_local(mt.DEVICE)),
    spread=(Block("total", (Axis("batch", 0, 12, 3), Axis("length", 0, 18, 3)), (), (0.3, 0.3), 1e-6),),
    choice=("batch", "heads", "length", "cache_bytes"),
    counted=COUNTED,
)  # fmt: skip


def prefill_local(per: tuple[str, ...]) -> tuple[Block, ...]:
    return (
        Block("total", (Axis("batch", 0, 8), mt.NEW), per, (0.02, 0.02), 3e-3),
        Block("total", (Axis("batch", 0, 8, 2), mt.HEADS, Axis("new", 0, 16, 2)), per, (0.1, 1.0, 0.1), 3e-3),
    )


PREFILL = Family(
    name="module_mla_prefill",
    parallel=(),
    serial=("project", "attend", "stream", "launch"),
    shared=(
        *SHARED,
        Block("attend", (Axis("waves", -8, 12),), (), (0.1,)),
        Block("attend", (mt.NEW,), (), (0.1,)),
        Block("attend", (Axis("new", 0, 16, 4),), mt.VARIANT, (0.3,), 0.1),
    ),
    local=(prefill_local(mt.STACK), prefill_local(mt.ARCHITECTURE), prefill_local(mt.DEVICE)),
    spread=(Block("total", (Axis("batch", 0, 12, 3), Axis("new", 0, 15, 3)), (), (0.3, 0.3), 1e-6),),
    choice=("batch", "heads", "new", "past", "cache_bytes"),
    counted=COUNTED,
)  # fmt: skip


def projections(sizes: Latent, tokens: Value, heads: Value, gemm: str, machine: Machine) -> tuple[Product, ...]:
    """Down-projections, query up-projection and output: what both forms of latent attention share."""
    qk = sizes.nope + sizes.rope
    return (
        product(tokens, sizes.q_rank + sizes.latent, sizes.hidden, gemm, machine),
        product(tokens, heads * qk, sizes.q_rank, gemm, machine),
        product(tokens, sizes.hidden, heads * sizes.v_dim, gemm, machine),
    )


def absorb(sizes: Latent, tokens: Value, heads: Value, machine: Machine) -> tuple[Product, ...]:
    """The key and value up-projections folded into query and output, a small 16-bit product a head each."""
    return (
        product(tokens, sizes.kv_rank, sizes.nope, "bfloat16", machine, heads),
        product(tokens, sizes.v_dim, sizes.kv_rank, "bfloat16", machine, heads),
    )


def expand(sizes: Latent, tokens: Value, heads: Value, gemm: str, machine: Machine) -> Product:
    """Keys and values of every token made from its latent."""
    return product(tokens, heads * (sizes.nope + sizes.v_dim), sizes.kv_rank, gemm, machine)


def passes(sizes: Latent, tokens: Value, heads: Value, gemm: str) -> Value:
    """Bytes of the passes between products: norms and rotary positions read and write 16 bit, quantising reads it."""
    wide = sizes.q_rank + sizes.latent + heads * (sizes.nope + 2.0 * sizes.rope)
    quantised = 0.0 if gemm == "bfloat16" else sizes.hidden + sizes.q_rank + heads * sizes.v_dim
    return tokens * (4.0 * wide + 3.0 * quantised)


def decode_view(
    sizes: Latent, batch: Value, heads: Value, cached: Value, gemm: str, cache_format: str, machine: Machine,
    unsplit: bool = False,
) -> View:  # fmt: skip
    """One new token of each sequence; ``unsplit``: all of a sequence is read by one unit."""
    element, units = ELEMENT[cache_format], machine.engine.units
    length = cached + 1.0
    work = mt.together(
        (*projections(sizes, batch, heads, gemm, machine), *absorb(sizes, batch, heads, machine)), machine
    )
    latents = batch * length * sizes.latent * element
    moved = latents + batch * heads * (sizes.latent + sizes.kv_rank) * 2.0
    flop = 2.0 * batch * length * (sizes.latent + sizes.kv_rank) / flops_peak(machine, FORMAT[cache_format])
    attend = mt.either(ceil(heads / 64.0) * 64.0 * flop, fetched(moved, machine))
    alone = ceil(batch * ceil(heads / 64.0) / units) * units / batch * 64.0 * flop / UNIT_SHARE
    terms = {
        "project": work.seconds, "attend": attend, "unsplit": maximum(alone - attend, 0.0) * float(unsplit),
        "stream": mt.streamed(machine, passes(sizes, batch, heads, gemm)), "launch": launches(gemm) * launch_seconds(machine),
    }  # fmt: skip
    coords = {
        **mt.coordinates(batch, heads, 1.0 + 0.0 * batch, cached, 0.0, element),
        "waves": np.log2(batch * ceil(heads / 64.0) / units), "cache": over_cache(machine, moved),
        "weights": over_cache(machine, work.weights),
    }  # fmt: skip
    limit = maximum(work.matmul + heads * flop, warm_limit(machine, work.weights + latents))
    return View(terms, coords, limit)


def prefill_view(
    sizes: Latent, batch: Value, heads: Value, new: Value, cached: Value, gemm: str, formats: tuple[str, str],
    machine: Machine,
) -> View:  # fmt: skip
    """``formats`` = (cache, attention)."""
    element, units = ELEMENT[formats[0]], machine.engine.units
    tokens = batch * new
    outer, inner = (
        projections(sizes, tokens, heads, gemm, machine),
        expand(sizes, batch * (cached + new), heads, gemm, machine),
    )
    work = mt.together((*outer, inner), machine)
    fast = FORMAT[formats[1]] if formats[1] == "fp8" else FORMAT[formats[0]]
    flop = 2.0 * batch * mt.causal_pairs(new, cached) * heads * sizes.pair
    moved = batch * (2.0 * new + cached) * heads * sizes.pair * 2.0
    terms = {
        "project": work.seconds,
        "attend": mt.either(flop / flops_peak(machine, FORMAT[formats[1]]), fetched(moved, machine)),
        "stream": mt.streamed(machine, passes(sizes, tokens, heads, gemm)), "launch": launches(gemm) * launch_seconds(machine),
    }  # fmt: skip
    coords = {
        **mt.coordinates(batch, heads, new, cached, 0.0, element),
        "waves": np.log2(batch * heads * ceil(new / 128.0) / units), "weights": over_cache(machine, work.weights),
    }  # fmt: skip
    limit = maximum(work.matmul + flop / flops_peak(machine, fast), warm_limit(machine, work.weights))
    return View(terms, coords, limit)


def launches(gemm: str) -> float:
    """Kernels of a layer; quantising the inputs of three products adds one each."""
    return KERNELS + (0.0 if gemm == "bfloat16" else 3.0)


def sizes_of(cls: Mapping[str, str]) -> Latent:
    if cls["architecture"] not in mt.LATENTS:
        raise BadInput(f"architecture {cls['architecture']}")
    return mt.LATENTS[cls["architecture"]]


def decode_row(cls: Mapping[str, str], rows: Rows, machine: Machine) -> View:
    formats = mt.known_formats(cls)
    return decode_view(
        sizes_of(cls), rows["batch_size"], rows["num_heads"], rows["step"], mt.known_gemm(cls), formats[0], machine,
        unsplit(cls, machine),
    )  # fmt: skip


def unsplit(cls: Mapping[str, str], machine: Machine) -> bool:
    """Whether a row's kernel keeps a sequence on one unit: TensorRT-LLM's where it has none for the device's own instructions."""
    own = cls.get("framework") == "trtllm" and cls.get("kernel_source", "") in ("default", "")
    return own and instructions_of(machine) == "mma.sync"


def prefill_row(cls: Mapping[str, str], rows: Rows, machine: Machine) -> View:
    return prefill_view(
        sizes_of(cls), rows["batch_size"], rows["num_heads"], rows["isl"], rows["step"], mt.known_gemm(cls),
        mt.known_formats(cls), machine,
    )  # fmt: skip


for _name, _family, _view in (
    ("module_mla_decode", DECODE, decode_row),
    ("module_mla_prefill", PREFILL, prefill_row),
):
    TABLES.register(_name)(
        TableRules(
            name=_name,
            targets=(Target("latency", _family, _view),),
            measured=("latency", "power"),
            numbers=mt.NUMBERS,
            texts=mt.TEXTS,
            group=("num_heads", "model"),
            slices=("device", *mt.FORMAT_COLUMNS, "framework"),
            key=mt.key,
        )
    )
