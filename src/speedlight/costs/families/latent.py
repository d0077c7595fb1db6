"""mla_prefill, mla_decode, mla_bmm: latent attention (DeepSeek-V2, arXiv 2405.04434 §2.1) without its projections.

Decode attends in the absorbed form: every head reads the same latent of 512 + 64 values a token, so that FLOPs rise with
heads and bytes do not. Prefill attends in the expanded form (192-wide queries and keys, 128-wide values), causal, but for SGLang's
own kernels, which absorb there too (:func:`prefill_code`); some libraries' rows include the up-projection of keys and values (``expand``). The batched products (``mla_bmm``) fold the
up-projections into query and output: one small matrix a head.

Kernels that do not split a sequence take as long as one unit needs for it: at its share of the memory bandwidth (``lane``)
or of the matrix rate (``unit``). TensorRT-LLM's ``default`` is one on A100 and RTX PRO 6000, where a thousand tokens cost
121 and 57-87 us whatever the heads; behind the same name Hopper and server Blackwell run kernels that split (0.6-0.8 us),
so that names count together with the kind of device (``path``, :mod:`.attention`). Triton's split any sequence into a fixed number of
parts, whose sums pass through memory (``partials``).

What bends the terms: thread blocks for the units (a head tile of a sequence each; the last wave is partly empty), how the
cache compares with the last-level cache (benchmark loops keep it there), how much each unit streams, and how long one
sequence is (splitting it needs a second pass).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..._foundation.arrays import Value, ceil, maximum, minimum
from ..._foundation.errors import BadInput
from ...hardware.machine import Machine, OperatingPoint
from ..calibration.blocks import Axis, Block
from ..calibration.samples import TABLES, Family, Rows, TableRules, Target, View, architecture_of, instructions_of
from ..price import peak_for
from .in_models import launch_seconds
from .warm import fetched

KV_RANK, ROPE, NOPE, V_DIM = 512.0, 64.0, 128.0, 128.0
LATENT = KV_RANK + ROPE
QK_DIM = NOPE + ROPE
ELEMENT = {"bfloat16": 2.0, "float16": 2.0, "fp8": 1.0}
FORMAT = {"bfloat16": "bf16", "float16": "fp16", "fp8": "fp8"}

ABSORBED, TRITON = "absorbed", "absorbed, masked pairs too"  # how some kernels attend to a prompt
EAGER = "vllm"  # its rows are of kernels issued one by one: no call takes less than the host
RARE = 1.0 / 32.0  # kernels split a sequence over units unless their own rows say otherwise

B, H, S = Axis("batch", 0, 10), Axis("heads", 0, 7), Axis("length", 0, 17)
B2, S2 = Axis("batch", 0, 10, 2), Axis("length", 0, 18, 2)
CACHE, STREAM, WAVES = Axis("cache", -14, 10), Axis("stream", 0, 26), Axis("waves", -8, 10, 0.5)

FRAMEWORK = ("framework",)
VARIANT = ("framework", "format", "kernel")
KERNEL_DRIVEN = ("kernel", "instructions")
ARCHITECTURE = ("architecture", "framework", "format", "kernel")
DEVICE = ("device", "framework", "version", "format", "kernel")


def decode_local(per: tuple[str, ...]) -> tuple[Block, ...]:
    """A class's own surface; stiff along heads, so that heads between or beyond the measured ones follow a line."""
    return (
        Block("total", (B, S), per, (0.02, 0.02), 3e-3),
        Block("total", (B2, H, S2), per, (0.1, 1.0, 0.1), 3e-3),
    )


DECODE = Family(
    name="mla_decode",
    parallel=("matmul", "memory", "reread", "lane", "unit"),
    serial=("launch", "partials"),
    shared=(
        Block("partials", (S2,), KERNEL_DRIVEN, (0.3,), 0.3),
        Block("unit", (S2,), (), (0.3,), 0.01),
        Block("unit", (S2,), KERNEL_DRIVEN, (0.3,), 0.01),
        Block("launch", (S2,), FRAMEWORK, (0.3,), 1e-3),  # vLLM 0.14 waits for its host, whatever the kernel
        Block("matmul", (WAVES,), (), (0.1,)),
        Block("reread", (CACHE,), (), (0.1,)),
        Block("reread", (S2,), KERNEL_DRIVEN, (0.3,), 0.03),
        Block("lane", (S2,), KERNEL_DRIVEN, (0.3,), 10.0),
        Block("matmul", (S2,), KERNEL_DRIVEN, (0.3,), 0.1),
        Block("memory", (CACHE,), (), (0.1,)),
        Block("memory", (STREAM,), (), (0.1,)),
        Block("memory", (S2,), KERNEL_DRIVEN, (0.3,), 0.1),
        Block("launch", (S2, B2), (), (0.1, 0.1)),
        Block("launch", (S2,), KERNEL_DRIVEN, (0.3,), 30.0),
    ),
    local=(decode_local(ARCHITECTURE), decode_local(DEVICE)),
    spread=(Block("total", (Axis("batch", 0, 12, 3), Axis("length", 0, 18, 3)), (), (0.3, 0.3), 1e-6),),
    choice=("batch", "heads", "length", "cache_bytes"),
    counted=("memory",),
)  # fmt: skip

ISL = Axis("length", 0, 15)


def prefill_local(per: tuple[str, ...]) -> tuple[Block, ...]:
    return (
        Block("total", (Axis("batch", 0, 8), ISL), per, (0.02, 0.02), 3e-3),
        Block("total", (Axis("batch", 0, 8, 2), H, Axis("length", 0, 16, 2)), per, (0.1, 1.0, 0.1), 3e-3),
        Block("total", (Axis("waves", -3, 5, 0.25), Axis("length", 4, 16, 4)), per, (0.05, 0.3), 3e-2),
    )


PREFILL = Family(
    name="mla_prefill",
    parallel=("matmul", "memory", "tiles"),
    serial=("launch", "expand"),
    shared=(
        Block("matmul", (WAVES,), (), (0.1,)),
        Block("matmul", (ISL,), (), (0.1,)),
        Block("matmul", (Axis("length", 0, 16, 4),), VARIANT, (0.3,), 4.0),
        Block("memory", (CACHE,), (), (0.1,)),
        Block("tiles", (ISL,), (), (0.1,)),
        Block("tiles", (Axis("waves", -8, 10, 2),), VARIANT, (0.1,), 0.1),
        Block("launch", (Axis("length", 0, 16, 2),), (), (0.1,)),
        Block("launch", (Axis("length", 0, 16, 8),), FRAMEWORK, (0.3,), 1e-3),
        Block("launch", (Axis("length", 0, 16, 8),), VARIANT, (0.3,), 4.0),
        Block("expand", (Axis("tokens", 0, 20, 4),), FRAMEWORK, (0.3,), 1e-3),
        Block("expand", (Axis("tokens", 0, 20, 4),), VARIANT, (0.3,), 4.0),
    ),
    local=(prefill_local(ARCHITECTURE), prefill_local(DEVICE)),
    spread=(Block("total", (Axis("batch", 0, 9, 3), Axis("length", 0, 15, 3)), (), (0.3, 0.3), 1e-6),),
    choice=("batch", "heads", "length", "cache_bytes"),
    counted=("matmul", "memory"),
)  # fmt: skip

T, OP = Axis("tokens", 0, 15, 0.5), ("op",)
BMM = Family(
    name="mla_bmm",
    parallel=("matmul", "memory"),
    serial=("launch", "convert"),
    shared=(
        Block("matmul", (WAVES,), (), (0.1,)),
        Block("matmul", (Axis("tokens", 0, 15),), OP, (0.3,)),
        Block("memory", (CACHE,), (), (0.1,)),
        Block("memory", (STREAM,), (), (0.3,)),
        Block("memory", (Axis("tokens", 0, 16, 4),), (*VARIANT, "op"), (0.3,), 0.1),
        Block("matmul", (Axis("tokens", 0, 16, 4),), (*VARIANT, "op"), (0.3,), 0.1),
        Block("launch", (Axis("tokens", 0, 16, 2),), OP, (0.3,)),
        Block("launch", (Axis("heads", 0, 8, 2),), VARIANT, (1.0,), 0.1),
        Block("convert", (Axis("tokens", 0, 16, 4),), VARIANT, (0.3,), 0.1),
    ),
    local=(
        (Block("total", (T, H), (*ARCHITECTURE, "op"), (0.05, 0.3), 3e-2),
         Block("total", (Axis("waves", -3, 6, 0.25),), (*ARCHITECTURE, "op"), (0.05,), 3e-2)),
        (Block("total", (T, H), (*DEVICE, "op"), (0.05, 0.3), 3e-2),
         Block("total", (Axis("waves", -3, 6, 0.25),), (*DEVICE, "op"), (0.05,), 3e-2)),
    ),
    spread=(Block("total", (Axis("tokens", 0, 16, 4), Axis("heads", 0, 8, 4)), (), (0.3, 0.3), 1e-6),),
    choice=("tokens", "heads", "weight_bytes"),
    counted=("matmul", "memory"),
)  # fmt: skip


def flops_peak(machine: Machine, number_format: str) -> Value:
    """Matrix FLOP/s, or the vector unit's where that is faster (or alone)."""
    point = OperatingPoint()
    vector = peak_for(machine, "vector", "fp32", None, point).flops
    return maximum(peak_for(machine, "matmul", number_format, None, point).flops, vector)


def warm_limit(machine: Machine, total: Value) -> Value:
    """Seconds the main memory must work when all operands of a repeated run may sit in the last cache."""
    cache = machine.last_cache
    capacity = cache.capacity_bytes if cache is not None else 0.0
    return total * (1.0 - minimum(1.0, capacity / maximum(total, 1.0))) / machine.main.bandwidth


def over_cache(machine: Machine, total: Value) -> Value:
    cache = machine.last_cache
    return np.log2(maximum(total, 1.0) / (cache.capacity_bytes if cache is not None else 1.0))


def decode_view(
    batch: Value,
    heads: Value,
    cached: Value,
    cache_format: str,
    machine: Machine,
    least: Value = 0.0,
    splits: float = 0.0,
    launches: float = 1.0,
) -> View:
    """One new token of each sequence in absorbed form: FLOPs 2·h·(576 + 512) a cached token, bytes 576 a token.

    Args:
        splits: parts of a sequence whose sums a second kernel adds, where their number is fixed (:func:`fixed_splits`).
        launches: of kernels that the host issues one by one.
    """
    element, units = ELEMENT[cache_format], machine.engine.units
    length = cached + 1.0
    latents = batch * length * LATENT * element
    total = latents + batch * heads * (LATENT + KV_RANK) * 2.0
    peak = flops_peak(machine, FORMAT[cache_format])
    flop = 2.0 * batch * length * (LATENT + KV_RANK) / peak
    tiles = batch * ceil(heads / 64.0)
    lane = ceil(tiles / units) * length * LATENT * element
    unit = ceil(tiles / units) * length * 64.0 * 2.0 * (LATENT + KV_RANK) * units / peak
    bandwidth = machine.main.bandwidth
    terms = {
        "unit": RARE * unit,
        "matmul": ceil(heads / 64.0) * 64.0 * flop,
        "memory": fetched(total, machine, least=least),
        "reread": ceil(heads / 16.0) * latents / bandwidth,
        "lane": RARE * lane * units / bandwidth,
        "launch": launch_seconds(machine) * launches,
        "partials": batch * heads * splits * (KV_RANK + 1.0) * 4.0 * 2.0 / bandwidth,  # written and read, fp32
    }
    coords = {
        "batch": np.log2(batch), "heads": np.log2(heads), "length": np.log2(length),
        "waves": np.log2(tiles / units), "cache": over_cache(machine, total),
        "stream": np.log2(total / units), "cache_bytes": element + 0.0 * heads,
    }  # fmt: skip
    return View(terms, coords, maximum(heads * flop, warm_limit(machine, total)))


def fixed_splits(kernel: str, framework: str, machine: Machine) -> float:
    """Splits of Triton's kernels, however short a sequence (SGLang's ``triton_attention_num_kv_splits``, vLLM's ``triton_mla.py``).

    On an RTX PRO 6000 SGLang's takes 17 us for one sequence of one token and 269 for 64 of 128 heads, in proportion to both. Where none
    is named, devices run it that no library has a kernel of its own for.
    """
    named = "triton" in kernel or (not kernel and instructions_of(machine) == "mma.sync")
    return {"sglang": 8.0, "vllm": 4.0}.get(framework, 0.0) if named else 0.0


def prefill_view(
    batch: Value, heads: Value, new: Value, cached: Value, cache_format: str, machine: Machine, code: str = ""
) -> View:
    """Causal attention: FLOPs 2·h·(192 + 128) a pair of tokens in expanded form, 2·h·(576 + 512) in absorbed form.

    Queries are 16-bit whatever the cache stores, and so are the products, mostly: an A100, an H100 and a B200 take as long on either cache.

    Args:
        code: one of :data:`ABSORBED` and :data:`TRITON`, else the expanded form.
    """
    element, units = ELEMENT[cache_format], machine.engine.units
    length = cached + new
    pairs = batch * (new * (new + 1.0) / 2.0 + new * cached)
    peak = flops_peak(machine, FORMAT[cache_format])
    queries = batch * new * heads * (QK_DIM + V_DIM) * 2.0
    keys = batch * length * heads * (QK_DIM + V_DIM) * 2.0
    least = queries + batch * length * minimum(LATENT * element, heads * (QK_DIM + V_DIM) * element)
    blocks = batch * heads * ceil(new / 128.0)
    flops = 2.0 * heads * pairs * (QK_DIM + V_DIM)
    done = flops * (LATENT + KV_RANK) / (QK_DIM + V_DIM) if code else flops
    if code == TRITON:
        done = done * batch * new * length / pairs  # what the mask hides is multiplied, too
    terms = {
        "matmul": done / flops_peak(machine, "bf16"),
        "memory": fetched(queries + keys, machine),
        "tiles": ceil(blocks / units) * launch_seconds(machine),
        "launch": launch_seconds(machine),
        "expand": 2.0 * batch * length * KV_RANK * heads * (NOPE + V_DIM) / flops_peak(machine, "bf16"),
    }
    coords = {
        "batch": np.log2(batch), "heads": np.log2(heads), "length": np.log2(new), "tokens": np.log2(batch * new),
        "waves": np.log2(blocks / units), "cache": over_cache(machine, queries + keys),
        "cache_bytes": element + 0.0 * heads,
    }  # fmt: skip
    return View(terms, coords, maximum(flops / peak, warm_limit(machine, least)))


def prefill_code(kernel: str, framework: str, machine: Machine) -> str:
    """How a kernel attends to a prompt: SGLang's own, named or not, in the absorbed form, wherever it has no kernel of TensorRT-LLM's.

    Times say so: on an H100 its FlashAttention-3 does 0.18 of the peak counted in expanded form, 3.4 times less than vLLM's (the
    absorbed form has 3.4 times the FLOPs); on an RTX PRO 6000 its Triton kernel 0.06, where the expanded form reaches 0.49.
    """
    if framework != "sglang" or "trtllm" in kernel:
        return ""
    driven = instructions_of(machine)
    if not kernel and driven == "tcgen05":
        return ""
    return TRITON if kernel == "triton" or (not kernel and driven != "wgmma") else ABSORBED


def bmm_view(
    tokens: Value, heads: Value, into_latent: bool, weight_format: str, machine: Machine, least: Value = 0.0
) -> View:
    """A product a head: [tokens, 128]·[128, 512] into the latent space, or [tokens, 512]·[512, 128] out of it."""
    element, units = ELEMENT[weight_format], machine.engine.units
    n = KV_RANK if into_latent else V_DIM
    weights = heads * KV_RANK * NOPE
    moved = tokens * heads * (KV_RANK + NOPE) * 2.0
    total = weights * element + moved
    blocks = heads * ceil(tokens / 128.0) * (n / 128.0)
    matmul = 2.0 * tokens * weights / flops_peak(machine, FORMAT[weight_format])
    narrow = element < 2.0
    terms = {
        "matmul": matmul,
        "memory": fetched(total, machine, least=least),
        "launch": launch_seconds(machine),
        # a pass over activations (read 16 bit, write the format) or over weights (the reverse): libraries differ
        "convert": (tokens * heads * (KV_RANK + NOPE - n) + weights) * 3.0 * narrow / machine.main.bandwidth,
    }
    coords = {
        "tokens": np.log2(tokens), "heads": np.log2(heads), "waves": np.log2(blocks / units),
        "cache": over_cache(machine, total), "stream": np.log2(total / units), "weight_bytes": element + 0.0 * heads,
    }  # fmt: skip
    return View(terms, coords, maximum(matmul, warm_limit(machine, total)))


def decode_row(cls: Mapping[str, str], rows: Rows, machine: Machine) -> View:
    cache = cached_in(_known(cls, "kv_cache_dtype"), machine)
    framework = cls.get("framework", "")
    splits = fixed_splits(cls.get("kernel_source", ""), framework, machine)
    # In a captured graph a second kernel costs next to nothing.
    launches = 2.0 if splits and framework == EAGER else 1.0
    return decode_view(
        rows["batch_size"], rows["num_heads"], rows["step"], cache, machine, splits=splits, launches=launches
    )


def prefill_row(cls: Mapping[str, str], rows: Rows, machine: Machine) -> View:
    cache = cached_in(_known(cls, "kv_cache_dtype"), machine)
    code = prefill_code(cls.get("kernel_source", ""), cls.get("framework", ""), machine)
    return prefill_view(rows["batch_size"], rows["num_heads"], rows["isl"], rows["step"], cache, machine, code)


def bmm_row(cls: Mapping[str, str], rows: Rows, machine: Machine) -> View:
    if cls["op_name"] not in ("mla_gen_pre", "mla_gen_post"):
        raise BadInput(f"op_name {cls['op_name']}")
    weights = _known(cls, "bmm_dtype")
    return bmm_view(rows["num_tokens"], rows["num_heads"], cls["op_name"] == "mla_gen_pre", weights, machine)


def _known(cls: Mapping[str, str], column: str) -> str:
    if cls[column] not in ELEMENT:
        raise BadInput(f"{column} {cls[column]}")
    return cls[column]


def cached_in(named: str, machine: Machine) -> str:
    """The format a latent cache really has: 16 bits where a device multiplies no fp8 (an A100's rows of both are equal, call by call)."""
    faster = flops_peak(machine, "fp8") > flops_peak(machine, "bf16")
    return named if named != "fp8" or faster else "bfloat16"


def key(cls: Mapping[str, str], machine: Machine) -> dict[str, str]:
    cache = cls.get("kv_cache_dtype", "")
    return {
        "device": machine.device_id, "architecture": architecture_of(machine), "framework": cls.get("framework", ""),
        "version": cls.get("version", ""), "format": cached_in(cache, machine) or cls.get("bmm_dtype", ""),
        "kernel": cls.get("kernel_source", ""), "op": cls.get("op_name", "") if "bmm_dtype" in cls else "",
    }  # fmt: skip


for _name, _family, _view, _numbers in (
    ("mla_decode", DECODE, decode_row, {"batch_size": 1, "num_heads": 1, "step": 0}),
    ("mla_prefill", PREFILL, prefill_row, {"batch_size": 1, "num_heads": 1, "isl": 1, "step": 0}),
    ("mla_bmm", BMM, bmm_row, {"num_tokens": 1, "num_heads": 1}),
):
    _format = "bmm_dtype" if _name == "mla_bmm" else "kv_cache_dtype"
    TABLES.register(_name)(
        TableRules(
            name=_name,
            targets=(Target("latency", _family, _view),),
            measured=("latency", "power"),
            numbers={k: float(v) for k, v in _numbers.items()},
            texts=("framework", "version", _format, "kernel_source", *(("op_name",) if _name == "mla_bmm" else ())),
            group=("num_heads",),
            slices=("device", _format, "framework"),
            key=key,
            optional={"step": 0.0} if "step" in _numbers else {},
        )
    )
