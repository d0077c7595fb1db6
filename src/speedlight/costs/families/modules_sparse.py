"""module_dsa_*, module_msa_*: whole sparse-attention layers.

*DSA* (DeepSeek-V3.2, GLM-5): latent attention in absorbed form to the 2048 tokens an indexer picks. *MSA* (MiniMax-M3):
grouped-query attention to 16 blocks of 128 tokens. In both an indexer scores every cached token first ("DeepSeek-V3.2-Exp"
(2025) eq. 1; see ``frontends.hf.parts.index``), which is cheap a pair and quadratic all the same. A layer that reuses
another's indices (``*_skip_indexer``) has no such term.

Terms, one after another: ``project``, ``index`` (scores: matrix unit against keys in and scores out), ``attend`` (matrix
unit against the gathered cache), ``stream`` (passes over activations), ``launch`` (a count of kernels). In decode they are
terms of their own. In prefill stacks launch kernel by kernel from Python, and short steps take what the host takes: there
``device`` is the sum of the parts and stands against ``host`` (and against ``expand``: making all cached keys and values
anew, which stacks do where the indexer would pick every token anyway).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from ..._foundation.arrays import Value, ceil, maximum, minimum, where
from ..._foundation.errors import BadInput
from ...hardware.machine import Machine
from ..calibration.blocks import Axis, Block
from ..calibration.samples import TABLES, Family, Rows, TableRules, Target, View
from . import module_terms as mt
from .in_models import launch_seconds
from .latent import ELEMENT, FORMAT, flops_peak, over_cache, warm_limit
from .module_terms import Grouped, Latent, Product, product
from .modules_dense import COUNTED, SHARED, absorb, expand, launches, passes, projections, sizes_of
from .warm import fetched

LOAD = 64.0  # bytes a unit takes from the last cache in a clock; the fit bends it
SCORE_BYTES = 8.0  # a score is written in 32 bit, and read by the choice of the best
# A superchip's own Arm cores launch from Python more slowly than the x86 hosts of the other boxes: short steps take 1.4 (MSA)
# to 1.75 (DSA) times as long on GB200 as on B200, in SGLang and vLLM alike, and long steps 0.92–0.98 (fitted).
GRACE, GRACE_BOXES = 1.6, ("gb", "gh")
HOST_LAUNCH_S = 1e-5  # host seconds a kernel launched from Python takes, typically; the fit bends it (assumed)
KIND, KERNEL = ("architecture", "framework", "format", "kernel"), ("framework", "kernel")
INDEX_KERNELS = 6.0  # two or three products, norm and rotary, scores, the choice
NEW2 = Axis("new", 0, 16, 2)
PAST, PAST4 = Axis("past", 0, 20), Axis("past", 0, 20, 4)


def sparse(variant: tuple[str, ...]) -> tuple[Block, ...]:
    """What layers of sparse attention share; ``variant``: the classes whose formats have bends of their own."""
    return (
        *SHARED,
        Block("index", (Axis("length", 0, 20, 2),), (), (0.3,)),
        Block("index", (mt.TOKENS4,), (), (0.3,)),
        # Attention and scores do not depend on the products' format: a kernel's own bends first, a format's stiffly on top.
        Block("index", (Axis("length", 0, 20, 4), mt.TOKENS4), KERNEL, (0.3, 0.3), 0.1),
        Block("scan", (Axis("length", 0, 20, 4), mt.TOKENS4), KERNEL, (0.3, 0.3), 0.03),
        Block("attend", (Axis("length", 0, 20, 4), mt.HEADS2), KERNEL, (0.3, 0.3), 0.1),
        Block("index", (Axis("length", 0, 20, 4), mt.TOKENS4), variant, (0.3, 0.3), 3.0),
        Block("scan", (Axis("length", 0, 20, 4), mt.TOKENS4), variant, (0.3, 0.3), 3.0),
        Block("attend", (Axis("waves", -8, 14, 2),), (), (0.1,)),
        Block("attend", (mt.HEADS,), (), (0.1,)),
        Block("attend", (Axis("length", 0, 20, 4), mt.HEADS2), variant, (0.3, 0.3), 3.0),
        Block("launch", (Axis("length", 0, 20, 4),), variant, (0.3,), 0.03),
    )


def prefill_local(per: tuple[str, ...]) -> tuple[Block, ...]:
    """A class's own surface over batch, new and cached tokens; stiff along heads."""
    return (
        Block("total", (mt.BATCH, mt.NEW), per, (0.02, 0.02), 3e-3),
        Block("total", (mt.NEW, PAST), per, (0.02, 0.02), 3e-3),
        Block("total", (mt.BATCH2, NEW2, PAST4), per, (0.1, 0.1, 0.1), 1e-2),
        Block("total", (mt.HEADS, NEW2, PAST4), per, (1.0, 0.1, 0.1), 3e-3),
    )


SPREAD_DECODE = (Block("total", (Axis("batch", 0, 12, 3), Axis("length", 0, 20, 4)), (), (0.3, 0.3), 1e-6),)
SPREAD_PREFILL = (Block("total", (Axis("tokens", 0, 20, 4), Axis("length", 0, 20, 4)), (), (0.3, 0.3), 1e-6),)
SERIAL = ("project", "index", "scan", "attend", "stream", "launch")


PACED = (
    Block("device", (mt.TOKENS2, Axis("length", 0, 20, 4)), (), (0.3, 0.3)),
    Block("device", (mt.HEADS,), (), (0.3,)),
    Block("device", (mt.TOKENS4, Axis("length", 0, 20, 4)), mt.VARIANT, (0.3, 0.3), 0.03),
    Block("device", (mt.HEADS2, Axis("length", 0, 20, 4)), mt.VARIANT, (0.3, 0.3), 0.03),
    Block("expand", (Axis("length", 0, 20, 10),), mt.VARIANT, (0.3,), 0.03),
    Block("host", (Axis("length", 0, 20, 10),), mt.VARIANT, (0.3,), 3e-3),
    # Stiff, or half of what all devices' hosts have in common would be booked as each device's own and miss where one is new.
    Block("host", (Axis("length", 0, 20, 20),), mt.DEVICE, (0.3,), 30.0),
)


def decode_family(name: str, variant: tuple[str, ...]) -> Family:
    """One graph launch a step: the parts add."""
    return Family(
        name=name, parallel=(), serial=SERIAL, shared=sparse(variant), counted=COUNTED,
        local=(mt.decode_local(KIND), mt.decode_local(mt.DEVICE)),
        spread=SPREAD_DECODE, choice=("batch", "heads", "length", "cache_bytes", "skip"),
    )  # fmt: skip


def prefill_family(name: str, partition: tuple[str, ...]) -> Family:
    """The host launches kernel by kernel while the device works: the slower of the two sets the time."""
    return Family(
        name=name, parallel=("device", "expand", "host"), serial=(), power=5.0, shared=PACED,
        local=(prefill_local(KIND), prefill_local(mt.DEVICE)),
        spread=SPREAD_PREFILL, partition=partition,
        choice=("batch", "heads", "length", "cache_bytes", "skip", "new", "past"),
    )  # fmt: skip


def paced(view: View, kernels: float, machine: Machine, expand: Value = 0.0) -> View:
    """The same layer as the host sees it: all parts one after another on the device, against launching them."""
    pace = HOST_LAUNCH_S * (GRACE if machine.device_id.startswith(GRACE_BOXES) else 1.0)
    return View({"device": sum(view.terms.values()), "expand": expand, "host": kernels * pace}, view.coords, view.limit)


def scan(batch: Value, new: Value, length: Value, groups: Value, width: float, machine: Machine) -> Value:
    """Scores where a unit walks through all keys of 64 queries alone: the last wave's units set the time."""
    engine = machine.engine
    return ceil(batch * ceil(new / 64.0) * groups / engine.units) * length * width / (engine.clock_hz * LOAD)


def index_scores(
    batch: Value, new: Value, cached: Value, heads: Value, dim: float, block: float, element: float, peak: Value,
    machine: Machine,
) -> Value:  # fmt: skip
    """Seconds of scoring every key a query sees."""
    pairs = batch * mt.causal_pairs(new, cached)
    matmul = 2.0 * heads * dim * pairs / peak
    keys, scores = batch * (cached + new) * dim * element, pairs / block * SCORE_BYTES
    return mt.either(matmul, fetched(keys, machine) + fetched(scores, machine))


def gathering(machine: Machine, distinct: Value, gathered: Value) -> Value:
    """Seconds of reading what queries picked: distinct bytes once, and from the cache what neighbouring queries pick again."""
    cache = machine.last_cache
    fast = machine.main.bandwidth if cache is None else maximum(cache.bandwidth, machine.main.bandwidth)
    return maximum(fetched(distinct, machine), gathered / fast)


def dsa_view(
    sizes: Latent, skip: bool, batch: Value, heads: Value, new: Value, cached: Value, gemm: str, cache_format: str,
    machine: Machine,
) -> View:  # fmt: skip
    """A layer of DeepSeek sparse attention."""
    element, units = ELEMENT[cache_format], machine.engine.units
    tokens = batch * new
    outer, inner = projections(sizes, tokens, heads, gemm, machine), absorb(sizes, tokens, heads, machine)
    own = () if skip else index_projections(sizes, tokens, gemm, machine)
    work = mt.together((*outer, *inner, *own), machine)
    matmul, index = sum(p.matmul for p in outer), 0.0 * tokens
    if own:
        index = index_scores(
            batch, new, cached, sizes.index_heads, sizes.index_dim, 1.0, 1.0, flops_peak(machine, "fp8"), machine
        )
        # Where every token is picked anyway, only the index key is needed: some stacks score nothing then.
        matmul = matmul + where(cached + new <= sizes.topk, 0.0, sum(p.matmul for p in own))
    pairs = batch * mt.causal_pairs(new, cached, sizes.topk)
    flop = 2.0 * pairs * (sizes.latent + sizes.kv_rank) / flops_peak(machine, FORMAT[cache_format])
    around = tokens * heads * (sizes.latent + sizes.kv_rank) * 2.0
    gathered = pairs * sizes.latent * element + around
    distinct = batch * minimum(cached + new, new * sizes.topk) * sizes.latent * element + around
    least = batch * minimum(cached + new, sizes.topk) * sizes.latent * element
    pair = 2.0 * pairs * heads * sizes.pair / flops_peak(machine, FORMAT[cache_format])
    terms = {
        "project": work.seconds, "index": index,
        "scan": 0.0 * tokens if skip else scan(batch, new, cached + new, 1.0, sizes.index_dim, machine),
        "attend": mt.either(ceil(heads / 64.0) * 64.0 * flop, gathering(machine, distinct, gathered)),
        "stream": mt.streamed(machine, passes(sizes, tokens, heads, gemm)),
        "launch": (launches(gemm) + (0.0 if skip else INDEX_KERNELS)) * launch_seconds(machine),
    }  # fmt: skip
    coords = {
        **mt.coordinates(batch, heads, new, cached, float(skip), element),
        "waves": np.log2(tokens * ceil(heads / 64.0) / units), "weights": over_cache(machine, work.weights),
    }  # fmt: skip
    read = sum(p.weights for p in outer) + least
    return View(terms, coords, maximum(matmul + pair, warm_limit(machine, read)))


def index_projections(sizes: Latent, tokens: Value, gemm: str, machine: Machine) -> tuple[Product, ...]:
    """Index queries, the index key, the weights of the heads (kept in 16 bit)."""
    return (
        product(tokens, sizes.index_heads * sizes.index_dim, sizes.q_rank, gemm, machine),
        product(tokens, sizes.index_dim, sizes.hidden, gemm, machine),
        product(tokens, sizes.index_heads, sizes.hidden, "bfloat16", machine),
    )


def whole(
    sizes: Latent, batch: Value, heads: Value, new: Value, cached: Value, gemm: str, machine: Machine
) -> Value:  # fmt: skip
    """Seconds of the expanded form where the indexer would pick every token: all cached keys and values made anew."""
    length = cached + new
    moved = 2.0 * batch * length * heads * (sizes.nope + sizes.rope + sizes.v_dim) * 2.0  # written, and read again
    anew = mt.together((expand(sizes, batch * length, heads, gemm, machine),), machine)
    seconds = anew.seconds + fetched(moved, machine)
    return where(length <= sizes.topk, seconds, 0.0)


def msa_view(
    sizes: Grouped,
    batch: Value,
    heads: Value,
    new: Value,
    cached: Value,
    gemm: str,
    cache_format: str,
    machine: Machine,
) -> View:
    """A layer of MiniMax-M3: a group of query heads shares a key–value head and an index head."""
    element, units = ELEMENT[cache_format], machine.engine.units
    tokens, width = batch * new, sizes.head_dim
    groups = maximum(heads / sizes.group, 1.0)
    work = mt.together(
        (
            product(tokens, (heads + 2.0 * groups) * width, sizes.hidden, gemm, machine),
            product(tokens, (groups + 1.0) * sizes.index_dim, sizes.hidden, gemm, machine),
            product(tokens, sizes.hidden, heads * width, gemm, machine),
        ),
        machine,
        warm=False,
    )  # fmt: skip  (weights that do not stay fit left-out heads and devices better: 2026-11-modules)
    index = index_scores(
        batch, new, cached, groups, sizes.index_dim, sizes.block, element, flops_peak(machine, "bf16"), machine
    )
    pairs = batch * mt.causal_pairs(new, cached, sizes.topk)
    flop = 4.0 * pairs * width / flops_peak(machine, FORMAT[cache_format])
    around = tokens * heads * 4.0 * width
    gathered = pairs * groups * 2.0 * width * element + around
    distinct = batch * minimum(cached + new, new * sizes.topk) * groups * 2.0 * width * element + around
    least = batch * minimum(cached + new, sizes.topk) * groups * 2.0 * width * element
    passed = tokens * (4.0 * (heads + 3.0 * groups + 1.0) * width + (0.0 if gemm == "bfloat16" else 3.0 * sizes.hidden))
    terms = {
        "project": work.seconds, "index": index,
        "scan": scan(batch, new, cached + new, groups, sizes.index_dim * element, machine),
        "attend": mt.either(maximum(heads, 16.0 * groups) * flop, gathering(machine, distinct, gathered)),
        "stream": mt.streamed(machine, passed),
        "launch": (launches(gemm) + INDEX_KERNELS) * launch_seconds(machine),
    }  # fmt: skip
    coords = {
        **mt.coordinates(batch, heads, new, cached, 0.0, element),
        "waves": np.log2(tokens * groups / units), "weights": over_cache(machine, work.weights),
    }  # fmt: skip
    limit = maximum(work.matmul + heads * flop, warm_limit(machine, work.weights + least))
    return View(terms, coords, limit)


def dsa_row(phase: str, cls: Mapping[str, str], rows: Rows, machine: Machine) -> View:
    skip = cls["op_name"].endswith("skip_indexer")
    view = dsa_view(
        sizes_of(cls), skip, rows["batch_size"], rows["num_heads"], rows["isl"], rows["step"], mt.known_gemm(cls),
        mt.known_formats(cls)[0], machine,
    )  # fmt: skip
    if phase == "decode":
        return view
    anew = whole(
        sizes_of(cls), rows["batch_size"], rows["num_heads"], rows["isl"], rows["step"], mt.known_gemm(cls), machine
    )
    return paced(view, launches(cls["gemm_type"]) + (0.0 if skip else INDEX_KERNELS), machine, anew)


def msa_row(phase: str, cls: Mapping[str, str], rows: Rows, machine: Machine) -> View:
    if cls["architecture"] not in mt.GROUPED:
        raise BadInput(f"architecture {cls['architecture']}")
    view = msa_view(
        mt.GROUPED[cls["architecture"]], rows["batch_size"], rows["num_heads"], rows["isl"], rows["step"],
        mt.known_gemm(cls), mt.known_formats(cls)[0], machine,
    )  # fmt: skip
    return paced(view, launches(cls["gemm_type"]) + INDEX_KERNELS, machine) if phase == "prefill" else view


# DSA's kernels are named on some devices only: vLLM's ``default`` on a GB200 is what it calls ``FLASHINFER_MLA_SPARSE`` on a B200. A
# launch by name left GB200's layers 19 % off with that device out, by instructions 6 %; MSA's names tell Triton's layers
# (24 for 15 % on an RTX PRO 6000 without them; studies/2026-11-strangers.md).
for _kind, _view, _partition, _variant in (
    ("dsa", dsa_row, (), mt.DRIVEN), ("msa", msa_row, ("framework",), mt.VARIANT),
):  # fmt: skip
    for _phase in ("decode", "prefill"):
        _name = f"module_{_kind}_{_phase}"
        _family = decode_family(_name, _variant) if _phase == "decode" else prefill_family(_name, _partition)
        TABLES.register(_name)(
            TableRules(
                name=_name,
                targets=(Target("latency", _family, partial(_view, _phase)),),
                measured=("latency", "power"),
                numbers=mt.NUMBERS,
                texts=mt.TEXTS,
                group=("num_heads", "model"),
                slices=("device", *mt.FORMAT_COLUMNS, "framework"),
                key=mt.key,
            )
        )
