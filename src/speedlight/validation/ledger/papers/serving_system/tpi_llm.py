"""TPI-LLM: weak devices share every layer, and layers stream from disk through a small window.

A device keeps its part of a few layers; the rest lies on its disk and comes ahead of use. Each device streams a part of the weights a token,
where one device alone streams all of them.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, Span, exactly, over
from ...registry import derives


def _devices(bench: Bench) -> list[int]:
    return list(bench.unstated("devices", (4, 8), "laptops and phones of a home"))


def _reductions(bench: Bench, weak: float) -> list[Span]:
    """Seconds a token, streamed by one device without overlap against one part each with it, in % less."""
    spans = []
    bench.stated(model="llama-2-70b")
    weights = float(bench.facts("llama-2-70b")["weight_bytes"])
    for devices in _devices(bench):
        for rate in bench.unstated("disk (B/s)", (0.5e9, 2e9), "SATA and NVMe of such devices"):
            for hop in bench.unstated("latency of a message (s)", (1e-3, 5e-3), "a home network"):
                alone = weights * weak / rate
                shared = max(weights / devices / rate, 0.0) + 2 * 80 * 2 * hop
                value = (1 - shared / alone) * 100
                most = (1 - 1 / (devices * weak)) * 100  # messages for nothing
                spans.append(Span(value, value, most, most))
    return spans


@derives("tpi-llm#2")
def accelerate(bench: Bench) -> Finding:
    """Against Accelerate, which brings layer after layer from disk and computes in between."""
    return over(
        _reductions(bench, 1.25),
        "weights streamed by one device, loads and products in turn, against a part each, loads ahead",
    )


@derives("tpi-llm#3")
def transformers(bench: Bench) -> Finding:
    """Against code that pages without a plan, which reads weights twice."""
    return over(_reductions(bench, 2.0), "the same, where a device out of memory reads what it evicted again")


def _kept(bench: Bench, devices: int, window: int) -> float:
    """Bytes of the device that also holds embeddings and head: Llama 2 70B in 32 bits, a window of layers, its part of each."""
    bits = bench.given("bits of a weight", 32, "assumed", "CPUs of edge devices compute in fp32")
    layers = bench.given("layers", 80, "assumed", "Llama 2 70B's configuration")
    facts = bench.facts("llama-2-70b")
    table = bench.size(32000 * 8192.0)
    layer = (float(facts["params"]) - 2 * table) / layers
    return (2 * table + window * layer / devices) * bits / 8


@derives("tpi-llm#5")
def memory(bench: Bench) -> Finding:
    """GB of the device that holds most."""
    bench.stated(model="llama-2-70b")
    spans = [
        exactly(_kept(bench, devices, window) / 1e9)
        for devices in _devices(bench)
        for window in bench.unstated("layers in the window", (2, 4))
    ]
    return over(spans, "embeddings, head and a window of layers' parts in 32 bits", more=False)


@derives("tpi-llm#4")
def reduction(bench: Bench) -> Finding:
    """Against all of its part in memory, in %."""
    bench.stated(model="llama-2-70b")
    spans = []
    for devices in _devices(bench):
        whole = float(bench.facts("llama-2-70b")["params"]) * 4 / devices
        for window in bench.unstated("layers in the window", (2, 4)):
            spans.append(exactly((1 - _kept(bench, devices, window) / whole) * 100))
    return over(spans, "the window's memory over that of a whole part")
