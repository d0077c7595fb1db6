"""attention_prefill, attention_decode, attention_encoder: what their views share; the families live beside this file.

An attention is ``batch`` sequences of ``new`` query tokens over ``cached`` + ``new`` keys, with ``heads`` query heads in
groups over ``kv_heads``. Its limit comes from the very op that models contain (graph/builder, lowering, price), so that
tables and models see the same thing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..._foundation.arrays import Value, where
from ..._foundation.errors import BadInput
from ..._foundation.expr import group_sum, minimum, sym
from ..._foundation.formats import bytes_per_element
from ...graph.builder import CACHED, COUNT, NEW, TOKENS, BlockBuilder, causal_pairs
from ...graph.grammar import check
from ...graph.ir import Graph, Operand
from ...hardware.machine import Machine, OperatingPoint
from ...lowering.kernels import Program
from ...lowering.lower import alone
from ..calibration.naming import INSTRUCTIONS
from ..calibration.samples import Family, Rows, architecture_of
from ..cost import Conditions, Cost
from ..price import peak_for, price

# The tables' formats.
FORMATS = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32", "fp8": "fp8"}
NO_WINDOW = 2.0**20  # longer than any context: every key is seen

# What the tables of causal attention share.
NUMBERS = {
    "batch_size": 1.0, "isl": 1.0, "num_heads": 1.0, "num_key_value_heads": 0.0, "head_dim": 1.0, "window_size": -1.0,
    "step": 0.0,
}  # fmt: skip
OPTIONAL = {"window_size": -1.0, "num_key_value_heads": 0.0}
TEXTS = ("framework", "version", "attn_dtype", "kv_cache_dtype", "kernel_source")
GROUP = ("num_heads", "num_key_value_heads", "head_dim", "window_size")


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of one attention; floats or arrays.

    Attributes:
        batch, new, cached: sequences, query tokens and cached tokens of each.
        heads, kv_heads: query heads; heads of keys and values.
        qk_dim, v_dim: elements of a key, of a value.
        window: keys a query sees at most (:data:`NO_WINDOW` for all).
        causal: whether a query sees no later key.
        dtype, kv: formats of queries and new keys, and of the cache.
        one_buffer: keys and values are the same bytes (a benchmark's shortcut, or an architecture's).
    """

    batch: Value
    new: Value
    cached: Value
    heads: Value
    kv_heads: Value
    qk_dim: Value
    v_dim: Value
    window: Value
    causal: bool = True
    dtype: str = "bf16"
    kv: str = "bf16"
    one_buffer: bool = False


def shape_of(cls: Mapping[str, str], rows: Rows, decode: bool) -> Shape:
    """The attention that a table's rows state."""
    stack = (cls["framework"], cls["version"])
    heads = rows["num_heads"]
    stated = rows.get("num_key_value_heads")
    kv_heads = heads if stated is None else np.where(stated > 0, stated, heads)
    window, dim = rows.get("window_size"), rows["head_dim"]
    none = 1.0 if stack in ZERO_IS_ITSELF and not decode else NO_WINDOW
    return Shape(
        batch=rows["batch_size"], new=rows["isl"], cached=rows["step"] if "step" in rows else np.zeros_like(heads),
        heads=heads, kv_heads=kv_heads, qk_dim=dim, v_dim=value_dim(cls["framework"], dim),
        window=np.full_like(heads, NO_WINDOW) if window is None
        else np.where(window > 0, window, np.where(window < 0, NO_WINDOW, none)),
        causal=window is not None, dtype=number_format(cls["attn_dtype"]),
        kv=number_format(cls.get("kv_cache_dtype") or cls["attn_dtype"]), one_buffer=decode and stack in ONE_BUFFER,
    )  # fmt: skip


# Stacks whose measured prefill seems to take a window of 0 for "itself only" (the kernels' ``window_left``), not for none.
# Inferred from times, not from source: in SGLang 0.5.10 rows of window 0 grow linearly with the sequence, take 0.86 of
# the time of window 128, and would need up to 14 times the matrix peak for all pairs. A blank window (-1) means none.
ZERO_IS_ITSELF = frozenset({("sglang", "0.5.10")})
# Stacks whose measured decode seems to read keys and values from one buffer. Inferred from times, not from source: in
# TensorRT-LLM 1.0.0 (A100 rows only) grouped kernels imply 1.65-1.7 times the memory's bandwidth, 0.83-0.85 of it on half
# the bytes; its kernel for one head per KV head does so at 256 tokens (1.2 times) and not from 512 on (0.85 on all bytes),
# as a two-pass kernel would whose keys still lie in the last cache when the second pass wants them as values.
ONE_BUFFER = frozenset({("trtllm", "1.0.0")})


def value_dim(framework: str, qk_dim: Value) -> Value:
    """SGLang's rows with keys of 192 elements take values of 128: with 192 they would pass the memory's bandwidth by 11 %."""
    return where(qk_dim == 192.0, 128.0, qk_dim) if framework == "sglang" else qk_dim


def number_format(name: str) -> str:
    if name not in FORMATS:
        raise BadInput(f"attention in {name}")
    return FORMATS[name]


@lru_cache(maxsize=32)
def program(dtype: str, kv: str, causal: bool, one_buffer: bool) -> Program:
    """One attention with its cache, lowered as the ideal stack would: a single kernel.

    It multiplies in the cache's format where that is the narrower one: with bf16 queries and an fp8 cache up to 1.3 times
    the bf16 peak is measured, so that some kernels must quantise the queries.
    """
    heads, kv_heads, qk_dim, v_dim, window = (sym(n) for n in ("heads", "kv_heads", "qk_dim", "v_dim", "window"))
    b = BlockBuilder("attention", dtype=dtype)
    q = b.input("q", TOKENS * heads * qk_dim)
    k = b.input("k", TOKENS * kv_heads * qk_dim)
    v = b.input("v", TOKENS * kv_heads * v_dim)
    cache = b.cache("kv", group_sum(COUNT * (CACHED + NEW)) * kv_heads * (qk_dim + v_dim), kv)
    span = minimum(CACHED, window - 1)
    per_token = kv_heads * (qk_dim if one_buffer else qk_dim + v_dim)
    out = b.attention(
        "attention", q, k, None if one_buffer else v, heads=heads, kv_heads=kv_heads, qk_dim=qk_dim, v_dim=v_dim,
        kv=Operand(cache, group_sum(COUNT * span) * per_token), causal=causal, span=span,
        pairs=causal_pairs(window) if causal else NEW * (CACHED + NEW), format=kv if kv == "fp8" else dtype,
    )  # fmt: skip
    b.activation(out, b.tensors[out].elements, "bf16" if dtype == "fp8" else dtype)
    names = ("heads", "kv_heads", "qk_dim", "v_dim", "window")
    graph = Graph("attention", (b.build([out]),), symbols=dict.fromkeys(names))
    return alone(check(graph))


def cost_of(shape: Shape, machine: Machine) -> Cost:
    """What the op costs where a benchmark loops on the same operands."""
    lowered = program(shape.dtype, shape.kv, shape.causal, shape.one_buffer)
    env = {
        "heads": shape.heads, "kv_heads": shape.kv_heads, "qk_dim": shape.qk_dim, "v_dim": shape.v_dim,
        "window": shape.window, "tokens": shape.batch * shape.new, "seqs": shape.batch,
    }  # fmt: skip
    groups = [{"count": shape.batch, "new": shape.new, "cached": shape.cached}]
    ((_, (values,)),) = lowered.evaluate(env, groups)
    (kernel,) = lowered.blocks[0].kernels
    return price(kernel, values, machine, conditions=Conditions("repeated"))


# Kernels a row's time includes: new keys and values go to their pages before attention reads them, or splits are combined
# after it. B60, whose launches are slow (26 us), never takes less than 56 us; the others cannot tell two from one.
LAUNCHES = 2.0
# Vector FLOPs that widen an fp8 element where no unit does: shifts, a masked exponent, special values. *Inferred* from
# decode rows of B60, the one such device measured: up to 34 would fit its bandwidth, 32 is too slow for most.
SOFTWARE = 16.0


def widened(shape: Shape, machine: Machine, keys: Value) -> Value:
    """Seconds to widen the keys and values of an fp8 cache in software; 0 where a matrix unit knows fp8.

    Args:
        keys: (KV head, token) pairs widened, repetitions counted.
    """
    if bytes_per_element(shape.kv) >= 2.0 or any(
        p.unit == "matmul" and p.format == "fp8" for p in machine.engine.peaks
    ):
        return 0.0 * keys
    vector = peak_for(machine, "vector", "fp32", None, OperatingPoint()).flops
    return SOFTWARE * keys * (shape.qk_dim + shape.v_dim) / vector


def residents(machine: Machine) -> float:
    """Work items that a unit keeps in flight, relative to an SM.

    An SM's kernels stage tiles in shared memory, which holds one or two of them; an Xe core's eight vector engines each
    have a matrix unit and load to registers, an item each (*inferred* from B60: 0.7 us an item and core, SMs 3-6 us).
    """
    return 8.0 if machine.vendor == "intel" else 1.0


def key(cls: Mapping[str, str], machine: Machine) -> dict[str, str]:
    kv = cls.get("kv_cache_dtype", "")
    return {
        "device": machine.device_id, "architecture": architecture_of(machine), "framework": cls.get("framework", ""),
        "version": cls.get("version", ""), "format": f"{cls['attn_dtype']}/{kv}" if kv else cls["attn_dtype"],
        "kernel": cls.get("kernel_source", ""),
    }  # fmt: skip


# Share of their matrix rate that mma.sync reaches where newer instructions are needed for all of it: assumed (no source at hand states it;
# published rates of FlashAttention-2 on Hopper, 19 to 37 % of the peak, are in keeping with it, as are cuDNN's convolutions on an H100,
# which we measured at 60 to 65 %: studies/2026-11-attention-generations.md, 2026-11-image-models.md).
OLDER_INSTRUCTIONS = 2 / 3


def by_format(family: Family, code: tuple[str, ...], terms: Collection[str], ridge: float) -> Family:
    """A family whose kernels also bend some terms by format, wherever the kernel runs.

    What a code does in fp8 it does on all devices that run it: without this only tables of an architecture say so, and a
    card never measured is told the format by its bytes and peaks alone.

    Args:
        code: key fields of the blocks that are a kernel's own.
        terms: those to bend; of every such block there is another for each format.
        ridge: of the new blocks.
    """
    own = [b for b in family.shared if b.per == code and b.term in terms]
    again = tuple(dataclasses.replace(b, per=(*code, "format"), ridge=ridge) for b in own)
    return dataclasses.replace(family, shared=(*family.shared, *again))


def beyond_registers(machine: Machine) -> bool:
    """Whether matrix instructions take operands from elsewhere: Hopper's wgmma from shared memory; server Blackwell's
    tcgen05 also keeps its sums in a memory of its own."""
    return architecture_of(machine) in INSTRUCTIONS


# These register tables and seers, and need what is above.
from . import attention_decode, attention_in_models, attention_prefill  # noqa: E402, F401
