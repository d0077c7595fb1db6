"""Prompt Cache: attention states of known parts of a prompt are stored; a prompt computes its new tokens only.

First-token time falls from a pass over the whole prompt to one over what is new (with attention to all of it) and the copy of the rest's
keys and values. The gain grows with FLOPs over bytes: where a device computes slowly beside its memory, reuse saves most.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives

HITS = (0.95, 0.98)


def _first_token(bench: Bench, machines: Iterable[str], stack: str) -> list[Span]:
    spans = []
    bench.given("stack", stack, "assumed", "a framework's eager mode, as research code has it")
    for machine in bench.unstated("machine", tuple(machines)):
        for isl in bench.unstated("prompt", (2048, 5120), "documents of a few thousand tokens"):
            question: dict[str, Any] = {
                "phase": "prefill",
                "batch": 1,
                "isl": isl,
                "stack": stack,
                "dtype": _format(machine),
            }
            before = bench.ask("llama-2-7b", machine, **question)
            for hit in bench.unstated(
                "share of a prompt that is known", HITS, "documents known, a question of some tens of tokens new"
            ):
                spans.append(
                    bench.speedup(before, bench.ask("llama-2-7b", machine, [f"prefix-reuse:hit={hit}"], **question))
                )
    return spans


def _format(machine: str) -> str:
    return "fp16" if machine.startswith(("rtx", "a")) else "bf16"


@derives("prompt-cache#1")
def gpu(bench: Bench) -> Finding:
    """On GPUs."""
    spans = _first_token(bench, ("rtx-4090", "a40", "a100-pcie-80gb"), "torch-eager")
    return over(
        spans,
        "a pass over new tokens instead of all; short passes end at reading the weights and at launches. Left out: states that lie in host "
        "memory cross the link first, and parts are put together in Python",
    )


@derives("prompt-cache#2")
def cpu(bench: Bench) -> Finding:
    """On host processors."""
    spans = _first_token(bench, ("i9-13900k", "ryzen-9-7950x"), "torch-eager")
    return over(spans, "a pass over new tokens instead of all: without matrix units FLOPs are what is saved")
