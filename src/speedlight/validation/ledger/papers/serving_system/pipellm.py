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


def _drop(slow: float) -> float:
    """A slow-down as a drop of throughput in %."""
    return max(1.0 - 1.0 / slow, 0.0) * 100.0


def _streams(bench: Bench, model: str, threads: tuple[int, ...]) -> list[Span]:
    """Weights that do not fit cross the link at every step, plain and encrypted."""
    bench.stated(model=model, machine="h100-sxm-80gb")
    asked: dict[str, Any] = {"phase": "decode", "batch": 32, "context": 512}
    plain = bench.ask(model, "h100-sxm-80gb", ["weights-offload"], **asked)
    spans = []
    for rate in bench.unstated(CORES[1], CORES[0], CORES[2]):
        for cores in bench.unstated("cores that encrypt ahead", threads):
            coded = f"confidential-computing:gbytes_per_s={rate},threads={cores}"
            after = bench.ask(model, "h100-sxm-80gb", ["weights-offload", coded], **asked)
            slow = [float(after.time / t) for t in (plain.high, plain.time, plain.low)]
            spans.append(Span(_drop(slow[0]), _drop(slow[1]), _drop(slow[2]), 0.0))
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
