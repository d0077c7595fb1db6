"""HeadInfer: of each layer's keys and values one head at a time on the device.

Llama-3-8B keeps 131,072 bytes a token: 128 GiB at 2^20 tokens. Its 32 layers have 8 key-value heads, so a head's slice of a layer is
half a GiB; the one in use and the next one are on the device.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, exactly, over
from ...registry import derives

TOKENS = 2**20
GIB = 2.0**30
GPU = "rtx-4090"


def _sliced(bench: Bench, context: float = TOKENS) -> Any:
    bench.stated(model="llama-3.1-8b", context="one million tokens", batch=1)
    bench.given("machine", GPU, "published")
    bench.given("stack", "transformers", "published", "its code is on transformers")
    return bench.ask(
        "llama-3.1-8b", GPU, ["headwise-kv-offload"], phase="decode", batch=1, context=context - 1, stack="transformers"
    )


@derives("headinfer#2")
def slices(bench: Bench) -> Finding:
    """Two slices of a head."""
    kv = bench.size(float(_sliced(bench).memory.by_class["kv"]))
    return over(
        [exactly(kv / GIB)],
        "two slices of one head of one layer, in GiB (the 128 GB of the baseline are GiB too)",
        more=False,
    )


@derives("headinfer#3")
def whole(bench: Bench) -> Finding:
    """Weights, two slices and what a piece of the prompt has alive."""
    fixed = _sliced(bench).memory
    spans = []
    for chunk in bench.unstated("prefill chunk", (512, 4096, 8192)):
        live = bench.ask(
            "llama-3.1-8b", GPU, phase="prefill", batch=1, isl=chunk, stack="transformers"
        ).memory.by_class["activations"]
        spans.append(exactly(bench.size(float(fixed.by_class["weights"] + fixed.by_class["kv"] + live)) / 1e9))
    return over(
        spans,
        "weights in 16 bits, two slices of keys and values, the activations of one piece of the prompt",
        more=False,
    )


@derives("headinfer#4")
def reduction(bench: Bench) -> Finding:
    """Against a prefill of the whole prompt at once."""
    fixed = _sliced(bench).memory
    small = float(fixed.by_class["weights"] + fixed.by_class["kv"])
    base = bench.ask("llama-3.1-8b", GPU, phase="prefill", batch=1, isl=TOKENS, stack="transformers").memory
    large = sum(float(base.by_class[c]) for c in ("weights", "kv"))
    live = float(base.by_class["activations"])
    shares = bench.unstated("share of the whole prompt's activations alive in the baseline", (0.5, 1.0))
    spans = [exactly(100 * (1 - bench.size(small) / (large + share * live))) for share in shares]
    return over(spans, "weights and two slices against weights, all keys and values and the prompt's activations")


@derives("headinfer#5")
def longest(bench: Bench) -> Finding:
    """What is left beside the weights, in tokens of two slices."""
    machine, answer = bench.machine(bench.given("machine", GPU)), _sliced(bench)
    each = float(answer.memory.by_class["kv"]) / TOKENS
    spans = []
    for spare in bench.unstated("bytes of activations and of the runtime", (1e9, 3.5e9)):
        room = float(machine.main.capacity_bytes) - bench.size(float(answer.memory.by_class["weights"])) - spare
        spans.append(Span(room / each, room / each, room / each))
    return over(spans, "tokens whose two slices fit beside the weights; the host would hold 512 GiB at four million")
