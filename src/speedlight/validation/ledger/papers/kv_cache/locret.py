"""Locret: retaining heads score keys and values, chunked prefill evicts to a fixed budget.

What is kept is the budget, so compression is context over budget, and the peak stops growing with the context.
"""

from __future__ import annotations

from ....._foundation.errors import BadInput
from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives

CONTEXT = 131072


def _compression(bench: Bench, model: str, budgets: tuple[int, ...]) -> Finding:
    bench.stated(model=model, machine="rtx-4090", context=CONTEXT)
    facts, room = bench.facts(model), bench.machine("rtx-4090").main.capacity_bytes
    token, weights = facts["kv_bytes_per_token"], facts["weight_bytes"]
    spans = []
    for budget in bench.unstated("budget", budgets, "the abstract states what it amounts to, not the budget"):
        if weights + budget * token <= room:
            spans.append(exactly(bench.size(CONTEXT) / budget))
    if not spans:
        raise BadInput(
            f"no budget of {budgets} tokens fits beside {weights / 1e9:.1f} GB of weights", expected="one that does"
        )
    return over(spans, "128 K tokens over a budget with which weights and cache fit 24 GB; without one they do not")


@derives("locret#1")
def phi(bench: Bench) -> Finding:
    """Phi-3-mini-128K: 32 layers of 32 heads, all of them kept."""
    return _compression(bench, "phi-3-mini", (4096, 6144, 8192))


@derives("locret#2")
def llama(bench: Bench) -> Finding:
    """Llama-3.1-8B."""
    return _compression(bench, "llama-3.1-8b", (8192, 12288, 16384))
