"""Cambricon-LLM: weights multiplied inside NAND dies.

A step reads every weight once at the rate of all dies' pages together. 3.44 tokens/s of 70 B and 36.34 of 7 B parameters in 8 bits are
241 and 254 GB/s: one rate explains both. Behind a flash interface the same bytes come at that interface's rate.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives


def _rates(bench: Bench) -> list[float]:
    """Bytes/s of all planes together: pages over their read time."""
    found = []
    for dies in bench.unstated("flash dies", (64, 128), "8 channels of 8 chips, one or two dies each"):
        for page, read in bench.unstated(
            "page bytes and read seconds", ((16384.0, 25e-6), (16384.0, 15e-6)), "SLC-like reads of 3D NAND"
        ):
            found.append(
                dies
                * bench.given("planes of a die", 4, "assumed", "current 3D NAND")
                * page
                / read
                * bench.perturbed.bandwidth
            )
    return found


def _speed(bench: Bench, model: str) -> Finding:
    bench.stated(model=model, batch=1)
    bench.given("weights", "int8", "assumed", "8-bit weights and activations, as on-device models have")
    size = float(bench.facts(model, weights="int8")["weight_bytes"])
    spans = [Span(rate / size, rate / size, rate / size, rate / size) for rate in _rates(bench)]
    return over(spans, "pages of all planes over the weights' bytes: every weight once a token")


@derives("cambricon-llm#1")
def large(bench: Bench) -> Finding:
    return _speed(bench, "llama-2-70b")


@derives("cambricon-llm#2")
def small(bench: Bench) -> Finding:
    return _speed(bench, "llama-2-7b")


@derives("cambricon-llm#3")
def gain(bench: Bench) -> Finding:
    """Against the same weights over a flash interface."""
    spans = []
    for interface in bench.unstated(
        "bytes/s of a flash interface", (5.0e9, 8.0e9), "UFS 4.0 and NVMe as phones and robots have them"
    ):
        spans += [Span(r / interface, r / interface, r / interface, r / interface) for r in _rates(bench)]
    return over(spans, "the planes' rate over the interface's: computing hides behind either")
