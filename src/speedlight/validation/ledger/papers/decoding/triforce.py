"""TriForce: the model drafts over a retrieved 4 K of its cache, a tiny model drafts for that; the whole cache is read once for many tokens.

Llama2-7B-128K keeps 64 GB for 122 K tokens beside 14 GB of weights. Where the cache lies in host memory every verification brings it over
the link, and drafts do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .....techniques.speculation import kept
from .....workload.places import Place
from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives

MODEL, CONTEXT = "llama-2-7b", 122880


def _labels(bench: Bench, drafts: tuple[int, ...]) -> Iterator[str]:
    bench.given("tokens of the retrieved cache", 4096)
    for k in bench.unstated("draft length", drafts):
        for acceptance in bench.unstated("acceptance", (0.85, 0.95), "the same weights over what they attend to most"):
            yield f"hierarchical-speculation:tokens=4096,drafts={k},acceptance={acceptance},inner=2,inner_acceptance=0.6"


def _question(bench: Bench, **more: Any) -> dict[str, Any]:
    bench.stated(model=MODEL, context=CONTEXT, batch=1)
    return {"phase": "decode", "batch": 1, "context": CONTEXT, **more}


@derives("triforce#1")
def on_chip(bench: Bench) -> Finding:
    """On an A100, against plain decoding."""
    question = _question(bench)
    spans = []
    for machine in bench.unstated("machine", ("a100-sxm-80gb", "a100-pcie-80gb"), "the source says A100"):
        before = bench.ask(MODEL, machine, **question)
        spans += [
            bench.speedup(before, bench.ask(MODEL, machine, [label], **question)) for label in _labels(bench, (4, 6))
        ]
    return over(spans, "weights for every draft, 4 K of the cache with them, all of the cache every few tokens")


def _offloaded(bench: Bench, way: str, **more: Any) -> dict[str, Any]:
    bench.given("stack", "vllm", "assumed", "captured steps; transfers a layer ahead")
    return _question(bench, offload=(Place("kv", "host", way=way),), stack="vllm", **more)


def _drafted(bench: Bench, question: dict[str, Any], **layout: Any) -> Iterator[Span]:
    """Seconds a token: verification over the host's cache, drafts over what was fetched of it."""
    near = bench.ask(MODEL, "rtx-4090", ["kv-page-selection:tokens=4096"], **_question(bench, stack="vllm", **layout))
    for k in bench.unstated("draft length", (8, 16)):
        verify = bench.ask(MODEL, "rtx-4090", **question, new=k + 1)
        for acceptance in bench.unstated("acceptance", (0.85, 0.95)):
            outputs, inner = float(kept(acceptance, k)), float(kept(0.6, 2))
            bench.given("tiny model", "2 drafts, 0.6 accepted", "assumed", "Llama-68M; its own time is left out")
            ends = [(float(v) + k / inner * float(d)) / outputs for v, d in zip(
                (verify.low, verify.time, verify.high, verify.limit), (near.low, near.time, near.high, near.limit), strict=True
            )]  # fmt: skip
            yield Span(ends[0], ends[1], ends[2], ends[3])


def _two_cards(bench: Bench) -> Iterator[tuple[Span, Span]]:
    """(plain, with drafts) seconds a token of two cards that keep the cache on their host."""
    bench.given("machine", "two rtx-4090")
    bench.given("host memory bandwidth", 200e9, "assumed", "eight channels of DDR4-3200")
    for link in bench.unstated("link to the host", (20e9, 31.5e9), "what PCIe 4.0 x16 carries"):
        machine = {"links.pcie.bandwidth": link, "tiers.host.bandwidth": 200e9}
        question = _offloaded(bench, "moved", tp=2, overrides=machine)
        plain = bench.time(bench.ask(MODEL, "rtx-4090", **question))
        for drafted in _drafted(bench, question, tp=2):
            yield plain, drafted


def _ratio(before: Span, after: Span) -> Span:
    bound = before.value / (after.bound or after.value)
    return Span(before.low / after.high, before.value / after.value, before.high / after.low, bound)


WHY = "the whole cache over the links once a verification, drafts over 4 K tokens that stay on the cards; the tiny model is left out"


@derives("triforce#2")
def latency(bench: Bench) -> Finding:
    """Seconds a token on two RTX 4090."""
    return over([after for _, after in _two_cards(bench)], WHY, more=False)


@derives("triforce#3")
def against_offloading(bench: Bench) -> Finding:
    """Against plain decoding with the cache on the host."""
    return over([_ratio(a, b) for a, b in _two_cards(bench)], WHY)


@derives("triforce#4")
def against_zero_inference(bench: Bench) -> Finding:
    """On one card, against DeepSpeed's, which keeps the cache on the host and attends to it there."""
    bench.given("machine", "one rtx-4090")
    spans = []
    for memory in bench.unstated("host memory bandwidth", (80e9, 200e9)):
        machine = {"tiers.host.bandwidth": memory}
        before = _question(
            bench, offload=(Place("kv", "host", way="computed"),), stack="zero-inference", overrides=machine
        )
        bench.given(
            "baseline", "zero-inference, attention by the processor", "published", "infini-ai-lab.github.io/TriForce"
        )
        plain = bench.time(bench.ask(MODEL, "rtx-4090", **before))
        spans += [_ratio(plain, after) for after in _drafted(bench, _offloaded(bench, "moved", overrides=machine))]
    return over(
        spans,
        WHY
        + "; the baseline's attention runs at its memory's bandwidth here, which eager code on a processor does not reach",
    )
