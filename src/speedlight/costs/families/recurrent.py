"""gated_delta_net, kimi_delta_attention, mamba2: the kernels of linear-attention and state-space blocks.

A row is one kernel of a block: the short causal convolution over queries, keys and values, or the recurrence itself, in
chunks over a prompt (context) or step by step (generation, verify). ``kernel_source`` says which, so it also says which
operation a row is. Formulas: Yang et al., "Gated Delta Networks" (ICLR 2025), §3.3, the chunked WY form with 64 tokens a
chunk; Dao and Gu, "Transformers are SSMs" (ICML 2024), §6, for what Mamba-2 convolves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..._foundation.arrays import Value, ceil, maximum, minimum
from ..._foundation.errors import BadInput
from ...hardware.machine import Machine, OperatingPoint
from ..calibration.blocks import Axis, Block
from ..calibration.samples import TABLES, Family, Rows, TableRules, Target, View, architecture_of
from ..price import peak_for
from .in_models import launch_seconds
from .warm import COLD, fetched

CHUNK = 64.0  # tokens handled as one matrix product
STEP = 1e-6  # seconds of one dependent step (a chunk, or a token) of a sequence; the fit bends it
LINE = 512.0  # tokens of one channel that a block convolves at once
RESIDENT = 8.0  # blocks a unit runs at a time
# What is expected of a launch for every sequence of prompts: next to nothing, since most kernels are launched once for all. One whose time
# rises with every sequence bends it back: the CUDA package's convolution takes 6 to 9 us a sequence whatever its length on an A100.
RARELY = 1.0 / 64.0
EACH = (Block("each", (Axis("one", 0, 1),), ("implementation",), (0.0,), 1e-3),)
CUDA = "cuda:"  # before the names of one package's kernels
ISSUE = 16.0  # bytes of activations a unit handles in a clock, loads, arithmetic and stores included; the fit bends it
WIDE, NARROW = 4.0, 2.0  # bytes of a state's element, of an activation's

ONE = Axis("one", 0, 1)
CACHE, STREAM = Axis("cache", -14, 8), Axis("stream", 2, 26)
ROUNDS, SEQ, BATCH, HEADS = Axis("rounds", -8, 8), Axis("seq", 0, 15), Axis("batch", 0, 10), Axis("heads", 0, 7)
CODE, STACK = ("implementation",), ("framework", "implementation")
ARCHITECTURE = ("architecture", "framework", "kernel")
KERNEL = ("device", "framework", "version", "kernel")

# What a kernel's code bends, and less freely a stack's build of it: term, axis, smoothness, ridge.
PARTICULAR = (
    ("memory", CACHE, 1.0, 1e-1), ("issue", STREAM, 0.1, 1e-2), ("launch", ONE, 0.0, 1e-3), ("chain", ROUNDS, 0.1, 1e-2),
    ("matmul", ROUNDS, 0.1, 1e-2),
)  # fmt: skip


def local(per: tuple[str, ...]) -> tuple[Block, ...]:
    """What is particular to a kernel: its grid of sequences by length, its rounds of blocks over the units."""
    return (
        Block("total", (SEQ, BATCH), per, (0.03, 0.03), 1e-2),
        Block("total", (STREAM,), per, (0.1,), 1e-2),
        Block("total", (Axis("rounds", -8, 8, 0.5),), per, (0.05,), 1e-2),
        Block("total", (Axis("seq", 0, 15, 3), Axis("batch", 0, 10, 2), HEADS), per, (0.3, 0.3, 0.1), 1e-1),
    )


def family(name: str, each: tuple[Block, ...] = ()) -> Family:
    """How these kernels are fitted; operations and phases apart. ``each``: bends of what is launched for every sequence."""
    return Family(
        name=name,
        parallel=("matmul", "memory", "issue", "chain"),
        serial=("launch", "each") if each else ("launch",),
        power=3.0,
        shared=(
            Block("memory", (CACHE,), (), (0.3,), 1e-2),
            Block("issue", (STREAM,), (), (0.1,), 1e-3),
            Block("launch", (ONE,), (), (0.0,), 1e-4),
            Block("chain", (ROUNDS,), (), (0.1,), 1e-3),
            Block("matmul", (ROUNDS,), (), (0.1,), 1e-3),
            *(
                Block(term, (axis,), per, (smooth,), ridge * stiff)
                for per, stiff in ((CODE, 1.0), (STACK, 10.0))
                for term, axis, smooth, ridge in PARTICULAR
            ),
            *each,
        ),
        local=(local(ARCHITECTURE), local(KERNEL)),
        spread=(Block("total", (Axis("stream", 2, 26, 4),), (), (0.3,), 1e-6),),
        partition=("format",),
    )


def convolution_view(
    batch: Value, seq: Value, channels: Value, width: Value, least: Value, machine: Machine, prompts: Value = 0.0,
    cold: bool = False,
) -> View:  # fmt: skip
    """A causal convolution of ``width`` over ``channels``.

    Activations go in and out, states of width − 1 are read and written. ``least`` channels are the fewest a row can mean:
    some stacks' benchmarks convolve queries, keys and values in one call, some (whose times do not depend on the number
    of value heads) one of them. ``prompts``: sequences that a stack may launch for one by one; steps of decoding are one launch.
    ``cold``: no cache kept the operands.
    """
    tokens = batch * seq
    each = NARROW * (2.0 * tokens + 2.0 * batch * (width - 1.0) + width)
    # TensorRT-LLM's kernel runs a block for each sequence and channel, whose time is that of LINE tokens at least.
    blocks = batch * channels * ceil(seq / LINE) / (machine.engine.units * RESIDENT)
    flops = 2.0 * tokens * width
    work = _Work(each * channels, each * least, each * least, 0.0, flops * channels, flops * least, blocks)
    return _finish(batch, seq, channels / 128.0, work, machine, prompts, cold)


def recurrence_view(
    batch: Value, seq: Value, key_heads: Value, heads: Value, key_dim: Value, value_dim: Value, chunked: bool, machine: Machine,
    cold: bool = False,
) -> View:  # fmt: skip
    """The delta rule over ``heads`` states of key_dim × value_dim.

    A token reads q, k, v and two gates and writes its output; a sequence reads and writes its states once. In chunks of C
    a token takes 2·(3·dk·dv + C·2·(dk + dv)) FLOPs of products; one by one it takes 6·dk·dv of vector work. The table does
    not say how states are stored: four bytes are expected, two are the limit.
    """
    tokens = batch * seq
    activations = NARROW * tokens * (2.0 * key_heads * key_dim + 2.0 * heads * value_dim + 2.0 * heads)
    states = batch * heads * key_dim * value_dim
    moved = activations + 2.0 * WIDE * states
    least, footprint = activations + 2.0 * NARROW * states, activations + NARROW * states
    recurrent = tokens * heads * key_dim * value_dim
    if chunked:
        flops = 2.0 * tokens * heads * (3.0 * key_dim * value_dim + CHUNK * 2.0 * (key_dim + value_dim))
        work = _Work(moved, least, footprint, flops, 0.0, 0.0, ceil(seq / CHUNK))
    else:
        work = _Work(moved, least, footprint, 0.0, 6.0 * recurrent, 4.0 * recurrent, seq)
    return _finish(batch, seq, heads, work, machine, cold=cold)


@dataclass(frozen=True, slots=True)
class _Work:
    """Bytes expected, bytes at least, distinct bytes at least; FLOPs of products and vectors, vector FLOPs at least; steps."""

    moved: Value
    least: Value
    footprint: Value
    products: Value
    vector: Value
    least_vector: Value
    steps: Value


def _finish(
    batch: Value, seq: Value, heads: Value, work: _Work, machine: Machine, prompts: Value = 0.0, cold: bool = False
) -> View:  # fmt: skip
    point = OperatingPoint()
    engine = machine.engine
    cache = machine.last_cache
    capacity = cache.capacity_bytes if cache is not None else 1.0
    vector = peak_for(machine, "vector", "fp32", None, point).flops
    terms = {
        "matmul": work.products / peak_for(machine, "matmul", "bf16", None, point).flops + work.vector / vector,
        "memory": fetched(work.moved, machine, least=COLD if cold else 0.0), "chain": work.steps * STEP,
        "issue": work.moved / (engine.units * engine.clock_hz * ISSUE),
        "launch": launch_seconds(machine), "each": RARELY * prompts * launch_seconds(machine),
    }  # fmt: skip
    coords = {
        "one": 0.0, "seq": np.log2(seq), "batch": np.log2(batch), "heads": np.log2(heads),
        "rounds": np.log2(batch * heads / engine.units), "cache": np.log2(work.moved / capacity),
        "stream": np.log2(work.moved / engine.units),
    }  # fmt: skip
    # Benchmarks loop on the same operands, so what fits the cache may stay there. Chunks may be of any size, so their
    # products say nothing; vector work one by one is bound by the faster of the two units.
    uncached = work.least * (1.0 - minimum(1.0, capacity / maximum(work.footprint, 1.0)))
    return View(terms, coords, maximum(work.least_vector / _fastest(machine), uncached / machine.main.bandwidth))


def _fastest(machine: Machine) -> Value:
    """FLOP/s of the fastest unit that could do vector work."""
    return maximum(
        peak_for(machine, "matmul", "bf16", None, OperatingPoint()).flops,
        peak_for(machine, "vector", "fp32", None, OperatingPoint()).flops,
    )


def operation(kernel: str) -> str:
    """What a kernel computes.

    Raises:
        BadInput: for a row that names no kernel: the table then does not say what was measured.
    """
    if not kernel:
        raise BadInput("no kernel_source: convolution or recurrence")
    return "convolution" if "conv" in kernel else "recurrence"


def code_of(kernel: str, framework: str, version: str = "") -> str:
    """A kernel's name, its library before it where it is not Triton's code of that name.

    TensorRT-LLM's convolution and SGLang's until 0.5.10 are the CUDA package ``causal-conv1d``: a block for each sequence and channel.
    Times of both stand still up to 512 tokens and rise with the sequences, a third higher for prompts of less than 5 tokens.
    ``…_triton`` is what vLLM calls the Triton code of that name where other devices have FlashInfer's (an RTX PRO 6000 takes SGLang's time).
    """
    kernel = kernel.removesuffix("_triton")
    packaged = framework == "trtllm" or (framework, version) == ("sglang", "0.5.10")
    return CUDA + kernel if packaged and operation(kernel) == "convolution" else kernel


def delta_row(cls: Mapping[str, str], rows: Rows, machine: Machine) -> View:
    """A class of gated_delta_net or kimi_delta_attention."""
    batch, seq = rows["batch_size"], rows["seq_len"]
    chunked = cls["phase"] == "context"
    key_heads, heads, key_dim, value_dim = (rows[n] for n in ("num_k_heads", "num_v_heads", "head_k_dim", "head_v_dim"))
    code = code_of(cls["kernel_source"], cls.get("framework", ""), cls.get("version", ""))
    if operation(code) == "convolution":
        keys, values = key_heads * key_dim, heads * value_dim
        # Rows of the CUDA package take as long whatever the value heads: they convolve one of queries and keys.
        channels = keys if code.startswith(CUDA) else 2.0 * keys + values
        return convolution_view(
            batch, seq, channels, rows["d_conv"], minimum(keys, values), machine, batch if chunked else 0.0
        )
    return recurrence_view(batch, seq, key_heads, heads, key_dim, value_dim, chunked, machine)


def mamba_row(cls: Mapping[str, str], rows: Rows, machine: Machine) -> View:
    """A class of mamba2: only its convolutions were measured."""
    if operation(cls["kernel_source"]) != "convolution":
        raise BadInput(f"kernel_source {cls['kernel_source']}")
    channels = rows["nheads"] * rows["head_dim"] + 2.0 * rows["n_groups"] * rows["d_state"]
    return convolution_view(rows["batch_size"], rows["seq_len"], channels, rows["d_conv"], channels, machine)


def key(cls: Mapping[str, str], machine: Machine) -> dict[str, str]:
    """Phases of one token and of several drafted ones run the same kernels."""
    phase = "context" if cls["phase"] == "context" else "step"
    kernel, framework, version = cls["kernel_source"], cls.get("framework", ""), cls.get("version", "")
    return {
        "device": machine.device_id, "architecture": architecture_of(machine), "framework": framework,
        "version": version, "format": f"{operation(kernel)}-{phase}", "kernel": kernel,
        "implementation": code_of(kernel, framework, version),
    }  # fmt: skip


DELTA = {
    "batch_size": 1, "seq_len": 1, "num_k_heads": 1, "num_v_heads": 1, "head_k_dim": 1, "head_v_dim": 1, "d_conv": 1,
}  # fmt: skip
MAMBA = {"batch_size": 1, "seq_len": 1, "nheads": 1, "head_dim": 1, "n_groups": 1, "d_state": 1, "d_conv": 1}
TEXTS = ("framework", "version", "kernel_source", "phase")

for _table, _each in (("gated_delta_net", EACH), ("kimi_delta_attention", ())):
    TABLES.register(_table)(
        TableRules(
            name=_table,
            targets=(Target("latency", family(_table, _each), delta_row),),
            measured=("latency", "power"),
            numbers=DELTA,
            texts=TEXTS,
            group=("d_model", "num_k_heads", "num_v_heads", "head_k_dim", "head_v_dim"),
            slices=("device", "framework", "kernel_source"),
            key=key,
        )
    )
TABLES.register("mamba2")(
    TableRules(
        name="mamba2",
        targets=(Target("latency", family("mamba2"), mamba_row),),
        measured=("latency", "power"),
        numbers=MAMBA,
        texts=TEXTS,
        group=("d_model", "nheads", "head_dim", "n_groups", "d_state"),
        slices=("device", "framework", "kernel_source"),
        key=key,
    )
)
