"""GH200 against PCIe-coupled A100 and H100: at large batches the device decides, at small ones the host that issues kernels.

A Grace core issues kernels more slowly, and the GPU behind it needs fewer seconds for each, so that more sequences fit under the host's
time before the device is the later one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives

MODEL, TIGHT = "llama-3.2-1b", "gh200-96gb"
ID = "characterizing-and-optimizing-llm-inference-workloads-on-cpu"


def _speedups(bench: Bench, loose: str) -> list[Span]:
    bench.stated(model=MODEL)
    spans = []
    for batch in bench.unstated("batch", (32, 128), "large"):
        for isl in bench.unstated("isl", (256, 1024)):
            asked: dict[str, Any] = {"phase": "prefill", "batch": batch, "isl": isl, "stack": "transformers@4.35"}
            spans.append(bench.speedup(bench.ask(MODEL, loose, **asked), bench.ask(MODEL, TIGHT, **asked)))
    return spans


@derives(f"{ID}#1")
def low(bench: Bench) -> Finding:
    """Against the faster of the two."""
    return over(
        _speedups(bench, "h100-pcie-80gb"),
        "prompt steps of eager code on both; limits of power and cooling of the card are not known",
    )


@derives(f"{ID}#2")
def high(bench: Bench) -> Finding:
    """Against the slower."""
    return over(_speedups(bench, "a100-sxm-80gb"), "prompt steps of eager code on both")


@derives(f"{ID}#3")
def crossing(bench: Bench) -> Finding:
    """Batches at which the device becomes the later one, GH200 over the others."""
    bench.stated(model=MODEL)
    batches = np.array([1.0, 2, 4, 8, 16, 32, 64, 128])
    values = []
    for slower in bench.unstated(
        "issue time on Grace over that on x86", (1.0, 1.5, 2.0), "its cores are slower at one thread"
    ):
        for loose in bench.unstated("loosely coupled", ("a100-sxm-80gb", "h100-pcie-80gb")):
            at = [
                _crossing(batches, [_device(bench, m, float(b)) for b in batches], _host(bench) * factor)
                for m, factor in ((TIGHT, slower), (loose, 1.0))
            ]
            values.append(at[0] / at[1])
    return over(
        [Span(v, v, v) for v in values],
        "where the device's seconds of a prompt step pass the host's for issuing its kernels",
    )


def _device(bench: Bench, machine: str, batch: float) -> float:
    return float(bench.ask(MODEL, machine, phase="prefill", batch=batch, isl=64, stack="vllm").time)


def _host(bench: Bench) -> float:
    """Seconds to issue the kernels of a step: layers times kernels of one, each at the stack's host time."""
    kernels = bench.size(16 * 30.0)
    return kernels * bench.given("issue time of a kernel (s)", 10e-6, "assumed", "Python dispatch of one ATen call")


def _crossing(batches: np.ndarray, device: list[float], host: float) -> float:
    """Where the device passes the host, along the line of the two nearest batches."""
    x, y = np.log(batches), np.log(device)
    i = int(np.clip(np.searchsorted(y, np.log(host)), 1, len(x) - 1))
    return float(np.exp(x[i - 1] + (np.log(host) - y[i - 1]) * (x[i] - x[i - 1]) / (y[i] - y[i - 1])))
