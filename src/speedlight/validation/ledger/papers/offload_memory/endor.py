"""Endor: pruned weights in a bitmap format over a path that is all the time there is.

At 50 % sparsity 16 bits become 8 of values and one of the bitmap: 16/9 = 1.78× on whatever path sets the pace. From a disk straight to
the device the host's copies fall away too.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives

CARD = "a100-sxm-80gb"


def _gain(bench: Bench, model: str, tier: str, rate: float, *more: str) -> Span:
    bench.stated(model=model, stack="accelerate", dtype="fp16")
    common: dict[str, Any] = {
        "phase": "decode", "batch": 1, "context": 512, "dtype": "fp16", "stack": "accelerate", "offload": (f"weights:{tier}",),
        "overrides": {"tiers.nvme.bandwidth": rate},
    }  # fmt: skip
    before = bench.ask(model, CARD, **common)
    return bench.speedup(before, bench.ask(model, CARD, ["bitmap-sparse-offload", *more], **common))


def _packed(bench: Bench, model: str) -> Finding:
    bench.given("sparsity", 0.5)
    spans = [_gain(bench, model, tier, 3.5e9) for tier in bench.unstated("offload", ("host", "disk"))]
    return over(spans, "a step is the transfer of all weights; 9 of 16 bits cross. Unpacking on the device is left out")


@derives("endor#1")
def opt(bench: Bench) -> Finding:
    return _packed(bench, "opt-66b")


@derives("endor#2")
def llama(bench: Bench) -> Finding:
    return _packed(bench, "llama-2-70b")


def _direct(bench: Bench, model: str) -> Finding:
    bench.given("sparsity", 0.5)
    rates = bench.unstated(
        "overrides", (2.0e9, 3.5e9, 7.0e9), "bytes/s of one NVMe disk: PCIe 3.0 x4 at half and full rate, 4.0 x4"
    )
    spans = [_gain(bench, model, "disk", rate, "direct-storage") for rate in rates]
    return over(
        spans, "fewer bytes, and a disk that writes to the device instead of a map whose pages a host thread copies"
    )


@derives("endor#3")
def opt_direct(bench: Bench) -> Finding:
    return _direct(bench, "opt-66b")


@derives("endor#4")
def llama_direct(bench: Bench) -> Finding:
    return _direct(bench, "llama-2-70b")
