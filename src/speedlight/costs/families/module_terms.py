"""What attention modules do, in seconds: projections one after another, attention, streaming passes, launches.

A module's kernels follow one another, so that its terms add; inside a product the matrix unit and the memory overlap, and
the larger wins (:func:`product`). Sizes come from the models' published configurations (DeepSeek-V3 arXiv 2412.19437 §4.2,
DeepSeek-V3.2, GLM-5, MiniMax-M3 ``config.json``), found by the architecture's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..._foundation.arrays import Value, maximum
from ..._foundation.errors import BadInput
from ..._foundation.formats import bytes_per_element, multiply_format
from ...hardware.machine import Machine
from ..calibration.blocks import Axis, Block
from ..calibration.samples import architecture_of
from .gemm import JOULES_PER_FLOP
from .latent import ELEMENT, flops_peak
from .warm import COLD, fetched

GEMMS = {"bfloat16": ("bf16", "bf16"), "fp8_block": ("fp8_block", "fp8"), "nvfp4": ("nvfp4", "nvfp4")}
ISSUE = 16.0  # bytes of activations a unit handles in a clock, loads, arithmetic and stores included; the fit bends it
OVERLAP = 2.5  # p of the p-norm of a product's matrix and memory time, as in the gemm family


@dataclass(frozen=True, slots=True)
class Latent:
    """Sizes of a latent-attention layer (see ``frontends.hf.arch.Mla``); ``index_heads`` 0: no indexer."""

    hidden: float
    q_rank: float
    nope: float
    v_dim: float
    index_heads: float = 0.0
    topk: float = 2048.0
    kv_rank: float = 512.0
    rope: float = 64.0
    index_dim: float = 128.0

    @property
    def latent(self) -> float:
        return self.kv_rank + self.rope

    @property
    def pair(self) -> float:
        """Multiply-adds of a query–key pair and head in expanded form."""
        return self.nope + self.rope + self.v_dim


@dataclass(frozen=True, slots=True)
class Grouped:
    """Sizes of a grouped-query layer that attends to blocks an indexer picks."""

    hidden: float
    head_dim: float
    group: float
    index_dim: float
    block: float
    topk: float


LATENTS = {
    "DeepseekV3ForCausalLM": Latent(7168, 1536, 128, 128),
    "DeepseekV32ForCausalLM": Latent(7168, 1536, 128, 128, 64),
    "GlmMoeDsaForCausalLM": Latent(6144, 2048, 192, 256, 32),
}
GROUPED = {"MiniMaxM3ForCausalLM": Grouped(6144, 128, 16, 128, 128, 2048)}


@dataclass(frozen=True, slots=True)
class Product:
    """One product: FLOP seconds at the peak, and at the clock the board's power can feed; bytes of weights, and of the rest."""

    matmul: Value
    powered: Value
    weights: Value
    moved: Value


@dataclass(frozen=True, slots=True)
class Work:
    """Seconds of a part, with the FLOP seconds and bytes that bound it."""

    seconds: Value
    matmul: Value
    weights: Value


def product(m: Value, n: Value, k: Value, gemm: str, machine: Machine, count: Value = 1.0) -> Product:
    """``count`` products C[m,n] = A[m,k]·B[k,n] of their own weights, results and inputs in 16 bit."""
    weights, activations = GEMMS[gemm]
    peak = flops_peak(machine, multiply_format(weights, activations))
    matmul = 2.0 * count * m * n * k / peak
    # What a board cannot feed at full rate runs at a lower clock; power goes with clock and voltage squared, so about with
    # the square of the clock.
    wanted = peak * JOULES_PER_FLOP * bytes_per_element(activations) / 2.0  # watts
    over = 1.0 if machine.tdp_w is None else maximum(wanted / machine.tdp_w, 1.0)
    return Product(
        matmul,
        matmul * over**0.5,
        count * n * k * bytes_per_element(weights),
        count * (m * k + m * n) * 2.0,
    )


def streamed(machine: Machine, total: Value) -> Value:
    """Seconds of passes over activations: bytes from wherever they lie, or what the units can issue.

    Eight terabytes a second are more than the units of a Blackwell server part handle in a pass that also computes.
    """
    engine = machine.engine
    return either(fetched(total, machine), total / (engine.units * engine.clock_hz * ISSUE))


def either(a: Value, b: Value) -> Value:
    """Smooth maximum of two overlapping times."""
    top = maximum(maximum(a, b), 1e-30)
    return top * ((a / top) ** OVERLAP + (b / top) ** OVERLAP) ** (1.0 / OVERLAP)


def together(parts: tuple[Product, ...], machine: Machine, warm: bool = True) -> Work:
    """Products one after another; whether weights stay in the cache is a matter of all of them, and of the benchmark."""
    weights = sum(p.weights for p in parts)
    least = 0.0 if warm else COLD
    seconds = sum(
        either(p.powered, fetched(p.weights, machine, weights, least) + fetched(p.moved, machine)) for p in parts
    )
    return Work(seconds, sum(p.matmul for p in parts), weights)


def causal_pairs(new: Value, cached: Value, most: float | None = None) -> Value:
    """Σ over the new tokens of the keys each sees, at most ``most`` of them."""
    if most is None:
        return new * cached + new * (new + 1.0) / 2.0
    ramp = np.clip(most - cached, 0.0, new)  # queries that still see fewer than ``most``
    return ramp * cached + ramp * (ramp + 1.0) / 2.0 + (new - ramp) * most


def known_gemm(cls: Mapping[str, str]) -> str:
    if cls["gemm_type"] not in GEMMS:
        raise BadInput(f"gemm_type {cls['gemm_type']}")
    return cls["gemm_type"]


def known_formats(cls: Mapping[str, str]) -> tuple[str, str]:
    """(cache, attention)."""
    for column in ("kv_cache_dtype", "mla_dtype"):
        if cls[column] not in ELEMENT:
            raise BadInput(f"{column} {cls[column]}")
    return cls["kv_cache_dtype"], cls["mla_dtype"]


def key(cls: Mapping[str, str], machine: Machine) -> dict[str, str]:
    """``format`` = products|cache|attention; ``op`` = whether the layer reuses another's indices; with the model's architecture."""
    skip = "skip" if cls.get("op_name", "").endswith("skip_indexer") else ""
    return {
        "device": machine.device_id, "architecture": architecture_of(machine), "framework": cls.get("framework", ""),
        "version": cls.get("version", ""), "format": "|".join(cls[c] for c in FORMAT_COLUMNS),
        "kernel": cls.get("kernel_source", ""), "op": f"{cls['architecture']}|{skip}",
    }  # fmt: skip


FORMAT_COLUMNS = ("gemm_type", "kv_cache_dtype", "mla_dtype")
TEXTS = ("framework", "version", "architecture", *FORMAT_COLUMNS, "kernel_source", "op_name")
NUMBERS = {"batch_size": 1.0, "num_heads": 1.0, "isl": 1.0, "step": 0.0}

VARIANT = ("framework", "format", "kernel")
DRIVEN = ("framework", "format", "instructions")
# Versions name their kernels anew (``default``, then ``FLASHMLA``): a class that has no kernel of that name still has its stack.
STACK = ("architecture", "framework", "format", "op")
ARCHITECTURE = ("architecture", "framework", "format", "kernel", "op")
DEVICE = ("device", "framework", "version", "format", "kernel", "op")

BATCH, LENGTH = Axis("batch", 0, 10), Axis("length", 0, 18)
BATCH2, LENGTH2 = Axis("batch", 0, 10, 2), Axis("length", 0, 20, 2)
HEADS, HEADS2 = Axis("heads", 0, 7), Axis("heads", 0, 8, 2)
NEW, TOKENS = Axis("new", 0, 15), Axis("tokens", 0, 20)
TOKENS2, TOKENS4 = Axis("tokens", 0, 20, 2), Axis("tokens", 0, 20, 4)
CACHE = Axis("cache", -14, 12, 2)


def coordinates(batch: Value, heads: Value, new: Value, cached: Value, skip: float, element: float) -> dict[str, Value]:
    """Sizes every module shares; ``length`` is what a sequence has in the end, ``past`` what it had cached."""
    same = 0.0 * heads
    return {
        "batch": np.log2(batch), "heads": np.log2(heads), "new": np.log2(new), "length": np.log2(cached + new),
        "past": np.log2(cached + 1.0), "tokens": np.log2(batch * new), "skip": skip + same,
        "cache_bytes": element + same,
    }  # fmt: skip


def decode_local(per: tuple[str, ...]) -> tuple[Block, ...]:
    """A class's own surface; stiff along heads, so that heads between or beyond the measured ones follow a line."""
    return (
        Block("total", (BATCH, LENGTH), per, (0.02, 0.02), 3e-3),
        Block("total", (BATCH2, HEADS, LENGTH2), per, (0.1, 1.0, 0.1), 3e-3),
    )
