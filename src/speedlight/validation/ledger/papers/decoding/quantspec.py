"""QuantSpec: drafts and verification by one network; drafts read 4-bit weights and the upper 4 bits of an 8-bit cache.

A draft moves a quarter of the bytes and a little, nine in ten are accepted; verification reads 16-bit weights and all 8 bits of the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .....engine.answers.prediction import Prediction
from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives


def _settings(bench: Bench) -> Iterator[tuple[Prediction, Prediction, float]]:
    """(plain, drafted, context)."""
    bench.given("drafts", "4-bit weights and cache")
    for model in bench.unstated("model", ("llama-2-7b",), "models of 7B with 4 K to 128 K tokens"):
        for machine in bench.unstated("machine", ("rtx-a6000", "a100-sxm-80gb")):
            for context in bench.unstated("context", (8192, 32768, 65536)):
                question: dict[str, Any] = {"phase": "decode", "batch": 1, "context": round(bench.size(context))}
                plain = bench.ask(model, machine, **question)
                for drafts in bench.unstated("draft length", (4, 6)):
                    for acceptance in bench.unstated("acceptance", (0.9, 0.93), "the source says above 0.9"):
                        label = f"quantized-self-speculation:drafts={drafts},acceptance={acceptance}"
                        yield plain, bench.ask(model, machine, [label], **question), context


@derives("quantspec#2")
def speedup(bench: Bench) -> Finding:
    """A token against plain decoding."""
    return over(
        [bench.speedup(a, b) for a, b, _ in _settings(bench)],
        "a quarter of the bytes for a draft, all of them every few tokens",
    )


@derives("quantspec#3")
def memory(bench: Bench) -> Finding:
    """Weights and caches of self-speculation over a sparse cache, over those of this one."""
    spans = []
    for share in bench.unstated("sparse cache of the drafts over the context", (0.0, 0.25)):
        for plain, drafted, _ in _settings(bench):
            weights, kv = (bench.memory(plain, cls).value for cls in ("weights", "kv"))
            spans.append(exactly((weights + kv * (1 + share)) / bench.memory(drafted, "weights", "kv").value))
    return over(
        spans,
        "16-bit weights with a whole and a sparse 16-bit cache, against 16- and 4-bit weights with 8 bits of cache",
    )
