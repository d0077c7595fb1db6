"""SqueezeAttention: every layer its own budget of tokens by what it adds to the residual stream.

Memory falls to the mean budget; throughput grows by fewer bytes read, and by the batch that fits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives


def _settings(bench: Bench) -> Iterator[tuple[str, dict[str, Any], str]]:
    for share in bench.unstated(
        "mean budget over the context", (0.2, 0.3, 0.4), "budgets at which such methods keep quality"
    ):
        for model in bench.unstated("model", ("mistral-7b", "llama-2-7b")):
            for context in bench.unstated("context", (1024, 4096)):
                tokens = round(bench.size(context * share))
                yield model, {"phase": "decode", "batch": 1, "context": context}, f"kv-layer-budgets:tokens={tokens}"


@derives("squeezeattention#1")
def memory(bench: Bench) -> Finding:
    """Bytes kept, as a share saved."""
    spans = []
    for model, question, technique in _settings(bench):
        whole, thin = (bench.ask(model, "a100-sxm-40gb", t, **question) for t in ([], [technique]))
        spans.append(exactly((1 - bench.memory(thin, "kv").value / bench.memory(whole, "kv").value) * 100))
    return over(spans, "the mean budget of the layers against every token")


@derives("squeezeattention#2")
def throughput(bench: Bench) -> Finding:
    """Tokens a second at an equal batch, or of a full card."""
    spans = []
    for model, question, technique in _settings(bench):
        for machine in bench.unstated("machine", ("a100-sxm-40gb", "a100-sxm-80gb")):
            before = bench.ask(model, machine, ["fill-memory"], **question)
            after = bench.ask(model, machine, [technique, "fill-memory"], **question)
            spans.append(bench.speedup(before, after, of="throughput"))
    return over(spans, "batches of either side as large as the card holds")
