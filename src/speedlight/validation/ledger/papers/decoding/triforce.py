"""TriForce: the model drafts over a retrieved 4 K of its cache, a tiny model drafts for that; the whole cache is read once for many tokens.

Llama2-7B-128K keeps 64 GB for 122 K tokens beside 14 GB of weights. Where the cache lies in host memory every verification brings it over
the link, and drafts do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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


def _tokens(bench: Bench) -> list[tuple[Span, Span]]:
    """(plain, with drafts) seconds a token of two cards that keep the cache on their host."""
    found = []
    bench.given("machine", "two rtx-4090")
    for link in bench.unstated("link to the host", (20e9, 31.5e9), "what PCIe 4.0 x16 carries"):
        question = _offloaded(
            bench, "moved", tp=2, overrides={"links.pcie.bandwidth": link, "tiers.host.bandwidth": 200e9}
        )
        bench.given("host memory bandwidth", 200e9, "assumed", "eight channels of DDR4-3200")
        plain = bench.ask(MODEL, "rtx-4090", **question)
        on_card = _question(bench, tp=2, stack="vllm")
        for k in bench.unstated("draft length", (8, 16)):
            for acceptance in bench.unstated("acceptance", (0.85, 0.95)):
                near = bench.ask(
                    MODEL, "rtx-4090", ["kv-page-selection:tokens=4096"], **on_card
                )  # drafts over what was fetched
                outputs = (1 - acceptance ** (k + 1)) / (1 - acceptance)
                verify = bench.ask(MODEL, "rtx-4090", **question, new=k + 1)
                inner = (1 - 0.6**3) / 0.4  # of two drafts of the tiny model, accepted six times in ten
                ends = [(float(v) + k / inner * float(d)) / outputs for v, d in zip(
                    (verify.low, verify.time, verify.high, verify.limit), (near.low, near.time, near.high, near.limit), strict=True
                )]  # fmt: skip
                found.append((bench.time(plain), Span(ends[0], ends[1], ends[2], ends[3])))
    return found


WHY = "the whole cache over two links once a verification, drafts over 4 K tokens that stay on the cards; the tiny model is left out"


@derives("triforce#2")
def latency(bench: Bench) -> Finding:
    """Seconds a token on two RTX 4090."""
    return over([after for _, after in _tokens(bench)], WHY, more=False)


@derives("triforce#3")
def against_offloading(bench: Bench) -> Finding:
    """Against plain decoding with the cache on the host."""
    spans = [
        Span(a.low / b.high, a.value / b.value, a.high / b.low, a.value / (b.bound or b.value))
        for a, b in _tokens(bench)
    ]
    return over(spans, WHY)
