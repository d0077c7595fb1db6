"""BitDelta: N fine-tunes as one base in 16 bits and N sign matrices.

N whole models hold 16 N bits a weight, a base and its deltas 16 + N: never more than 16 times less, and ten times from 27 on.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives


@derives("bitdelta#2")
def memory(bench: Bench) -> Finding:
    """A device's bytes with N whole models over those with a base and N deltas, caches and buffers included."""
    found = []
    for model in bench.unstated(
        "model", ("llama-2-7b", "mistral-7b", "llama-2-70b"), "Llama-2 and Mistral families up to 70B"
    ):
        for count in bench.unstated("fine-tunes", (16, 32, 64)):
            common: dict[str, Any] = {
                "phase": "decode",
                "batch": count,
                "context": bench.given("context", 128, "assumed"),
            }
            copies, deltas = (
                bench.ask(model, bench.given("machine", "a100-sxm-80gb", "assumed"), [f"{name}:count={count}"], **common)
                for name in ("separate-fine-tunes", "one-bit-deltas")
            )  # fmt: skip
            held = ("weights", "kv")
            ratio = bench.memory(copies, *held).value / bench.memory(deltas, *held).value
            limit = 16.0 * count / (16 + count)
            found.append(Span(ratio, ratio, ratio, max(ratio, limit)))
    return over(
        found,
        "weights and keys and values of N fine-tunes; the layers' weights are what differs, embeddings and heads are shared by both",
    )
