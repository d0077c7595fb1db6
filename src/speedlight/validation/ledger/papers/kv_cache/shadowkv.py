"""ShadowKV: keys in low rank on the device, values in host memory, chunks picked by mean keys.

A sequence takes the device low-rank keys and chunk means, a seventh to a tenth of its cache; a step fetches the picked chunks' values over
the link and rebuilds their keys beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, exactly, over
from ...registry import derives

MACHINE = "a100-sxm-80gb"


def _settings(bench: Bench) -> Iterator[tuple[Any, Any]]:
    bench.given("machine", MACHINE)
    for model in bench.unstated("model", ("llama-3.1-8b", "yi-6b"), "long-context models of 6 to 9B"):
        for context in bench.unstated("context", (61440, 124928)):
            question: dict[str, Any] = {"phase": "decode", "batch": 1, "context": context}
            whole = bench.ask(model, MACHINE, ["fill-memory"], **question)
            for rank in bench.unstated("rank of the keys", (128, 160)):
                for share in bench.unstated("share of the tokens picked", (0.0156,)):
                    shadow = f"shadow-kv:rank={rank},tokens={round(context * share)}"
                    yield whole, bench.ask(model, MACHINE, [shadow, "fill-memory"], **question)


@derives("shadowkv#1")
def batch(bench: Bench) -> Finding:
    """Sequences that fit, after over before."""
    spans: list[Span] = []
    for whole, shadow in _settings(bench):
        ratio = shadow.scenario.program.workload.batch / whole.scenario.program.workload.batch
        spans.append(exactly(float(ratio)))
    return over(spans, "device bytes of a sequence: low-rank keys and chunk means against keys and values")


@derives("shadowkv#2")
def throughput(bench: Bench) -> Finding:
    """Tokens a second, each side at the batch it has room for."""
    spans = [bench.speedup(whole, shadow, of="throughput") for whole, shadow in _settings(bench)]
    return over(spans, "picked values cross the link while the layer before computes; keys are rebuilt on the device")
