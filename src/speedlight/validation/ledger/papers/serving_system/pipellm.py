"""PipeLLM: under confidential computing every transfer between host and GPU is encrypted on the host.

What serving moves over the link (layers that do not fit, keys and values that are swapped) then waits for the cores that encrypt.
Encrypting ahead on several of them hides what their rate allows.
"""

from __future__ import annotations

from typing import Any

from ... import loads
from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives

CORES = ((4.0, 6.0), "GB a second that one core encrypts", "AES-GCM of a server's core")
REACHED = (0.75, 0.9)


def _drop(slow: float) -> float:
    """A slow-down as a drop of throughput in %."""
    return max(1.0 - 1.0 / slow, 0.0) * 100.0


def _streams(bench: Bench, model: str, threads: tuple[int, ...]) -> list[Span]:
    """Weights that do not fit cross the link at every step; a step lasts as long as they do, plain and encrypted."""
    bench.stated(model=model, machine="h100-sxm-80gb")
    machine = bench.machine("h100-sxm-80gb")
    link = float(next(k for k in machine.links if k.role == "host").bandwidth)
    weights = float(bench.facts(model)["weight_bytes"])
    resident = weights / float(machine.main.bandwidth)
    spans = []
    for share in bench.unstated(
        "share of the weights that is streamed", (0.5, 1.0), "what leaves room for keys and values"
    ):
        for rate in bench.unstated(CORES[1], CORES[0], CORES[2]):
            for cores in bench.unstated("cores that encrypt ahead", threads):
                plain = [max(weights * share / (link * part), resident) for part in (*REACHED, 1.0)]
                coded = [max(p, weights * share / (rate * cores * 1e9)) for p in plain]
                drops = sorted(_drop(c / p) for c, p in zip(coded, plain, strict=True))
                spans.append(Span(drops[0], drops[1], drops[2], 0.0))
    return spans


@derives("pipellm#1")
def opt_30b(bench: Bench) -> Finding:
    """OPT-30B fits, its keys and values hardly: sequences are swapped out and in."""
    bench.stated(model="opt-30b", machine="h100-sxm-80gb")
    spans = []
    for isl, osl in bench.unstated(
        "prompt and answer tokens", ((160, 340), (330, 450)), "conversations, in several samples each"
    ):
        for rate in bench.unstated(CORES[1], CORES[0], CORES[2]):
            load: dict[str, Any] = {
                "rate": 50.0,
                "isl": isl,
                "osl": osl,
                "spread": 0.5,
                "requests": 80,
                "policy": "vllm@0",
            }
            swapping = "swap-preemption:copies=96"
            plain = bench.serve("opt-30b", "h100-sxm-80gb", [swapping], **load)
            names = [swapping, f"confidential-computing:gbytes_per_s={rate}"]
            coded = bench.serve("opt-30b", "h100-sxm-80gb", names, **load)
            spans.append(loads.ratio(plain, coded, loads.metric("output_throughput")).mapped(lambda x: _drop(1.0 / x)))
    return over(
        spans,
        "output a second of a queue that swaps, with the link as it is and as fast as one core encrypts; several samples of a prompt, "
        "which swap far more, are left unexplained",
        more=False,
    )


@derives("pipellm#2")
def opt_66b(bench: Bench) -> Finding:
    """OPT-66B does not fit: what is beyond the memory crosses the link at every step, and nothing else matters."""
    return over(
        _streams(bench, "opt-66b", (1,)),
        "the transfers' time at the link's rate against one core's encryption",
        more=False,
    )


@derives("pipellm#3")
def pipelined(bench: Bench) -> Finding:
    """The same with cores that encrypt ahead."""
    return over(
        _streams(bench, "opt-66b", (12, 16)),
        "the transfers' time where several cores encrypt ahead of them",
        more=False,
    )
