"""Pictures over several devices: strips late by a step (DistriFusion), seen in part (PCPP), layers late by a step (AsyncDiff).

Strips divide all work of a denoising step; what they exchange (keys and values, edges, sums of norms) hides under the step where it
may be a step old. What is lost at many strips is launches and thin tiles, so the gain grows with the resolution. Parts of the
layers are limited by the largest part, by handing activations on, and by the first steps, which run one after another.
"""

from __future__ import annotations

from typing import Any

from .....engine.predict import predict
from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives
from ._shared import message


def _picture(bench: Bench, machine: str, model: str, side: int, techniques: tuple[str, ...] = ()) -> Any:
    return bench.ask(model, machine, techniques, phase="forward", batch=1, height=side, width=side)


def _strips(bench: Bench, technique: str, machine: str, degrees: tuple[int, ...], sides: tuple[int, ...]) -> list[Span]:
    spans = []
    bench.given("batch", 1, "unstated", "one picture")
    for side in bench.unstated("resolution", sides):
        alone = _picture(bench, machine, "sdxl", side)
        for degree in degrees:
            spans.append(
                bench.speedup(alone, _picture(bench, machine, "sdxl", side, (f"{technique}:degree={degree}",)))
            )
    return spans


@derives("distrifusion#1")
def displaced(bench: Bench) -> Finding:
    """A denoising step of SDXL on eight A100 over one."""
    bench.stated(model="sdxl", machine="dgx-a100-80gb", degree=8)
    for side in (1024, 2048, 3840):
        bench.given("height", side, "unstated", "the resolutions of the source's figures")
        break
    bench.given("width", "as high", "unstated")
    return over(
        _strips(bench, "displaced-patch-parallel", "dgx-a100-80gb", (8,), (1024, 2048, 3840)),
        "one step on a strip each, exchange a step late, over one step on one device; the first steps of a picture, which are synchronous, are left out",
    )


@derives("partially-conditioned-patch-parallelism-for-accelerated-diff#2")
def partial(bench: Bench) -> Finding:
    """PCPP on four to eight devices."""
    bench.stated(degree=(4, 8))
    for what in ("height", "width"):
        bench.given(what, "square", "unstated")
    bench.given("model", "sdxl", "unstated", "a latent diffusion model")
    spans = []
    for machine in bench.unstated("machine", ("dgx-a100-80gb",)):
        spans += _strips(bench, "partially-conditioned-patches", machine, (4, 8), (1024, 2048, 3840))
    return over(spans, "strips that see part of their neighbours' last step, over one device")


@derives("partially-conditioned-patch-parallelism-for-accelerated-diff#3")
def conditioned(bench: Bench) -> Finding:
    """DistriFusion on four to eight devices, as PCPP measured it."""
    bench.stated(degree=(4, 8))
    for what in ("height", "width"):
        bench.given(what, "square", "unstated")
    bench.given("model", "sdxl", "unstated", "a latent diffusion model")
    spans = []
    for machine in bench.unstated("machine", ("dgx-a100-80gb",)):
        spans += _strips(bench, "displaced-patch-parallel", machine, (4, 8), (1024, 2048, 3840))
    return over(spans, "strips that see all of the others' last step, over one device")


@derives("partially-conditioned-patch-parallelism-for-accelerated-diff#1")
def fewer_bytes(bench: Bench) -> Finding:
    """Bytes a strip takes in when only its neighbours' are seen, per cent less than all others'."""
    spans = []
    for n in bench.unstated("strips", (4, 6, 8), "four to eight devices"):
        for part in bench.unstated("share of a neighbour that is seen", (0.5, 1.0)):
            neighbours = 2.0 * (n - 1) / n  # the first and the last strip have one
            left = bench.size(neighbours * part) / (n - 1)
            spans.append(Span(100 * (1 - left), 100 * (1 - left), 100 * (1 - left), 100.0))
    return over(spans, "of n − 1 other strips two neighbours are seen, wholly or by half")


def _in_parts(bench: Bench, parts: int, stride: int, steps: int, first: int) -> Span:
    """Speed-up of a picture whose denoiser runs in parts at once, a step late."""
    machine = "rtx-a5000"
    scenario = bench.question("sd-2.1", machine, phase="forward", batch=2, height=512, width=512)
    rows = [float(op.time) for op in predict(scenario).ops]
    total, share, most = sum(rows), sum(rows) / parts, 0.0
    part = 0.0
    for row in rows:  # cut in order, at the ops nearest to equal shares
        if part + row / 2 > share and part:
            most, part = max(most, part), 0.0
        part += row
    most = max(most, part)
    sent = message(bench, machine, "all_gather", parts * 2 * 320 * 64 * 64 * 2.0, parts)
    late = (most + sent.value) / stride
    rest = (steps - first) / steps
    value = 1.0 / ((1 - rest) + rest * late / total)
    bound = parts * stride * 1.0
    return Span(value * 0.95, value, min(value * 1.05, bound), bound)


def _asynchronous(bench: Bench, ways: tuple[tuple[int, int], ...], why: str) -> Finding:
    bench.stated(model="sd-2.1", machine="rtx-a5000", devices=4)
    spans = []
    for parts, stride in bench.unstated("(parts, stride)", ways):
        for first in bench.unstated("steps one after another at the start, of 50", (1, 5, 9)):
            spans.append(_in_parts(bench, parts, stride, 50, first))
    return over(spans, why)


@derives("asyncdiff#1")
def parts_of_four(bench: Bench) -> Finding:
    """Four parts on four devices, every step."""
    return _asynchronous(
        bench,
        ((4, 1),),
        "the largest of four parts of the denoiser and the exchange of what parts hand on, over the whole denoiser",
    )


@derives("asyncdiff#2")
def strided(bench: Bench) -> Finding:
    """Three parts on four devices, each run once in two steps."""
    return _asynchronous(bench, ((3, 2), (4, 2)), "parts run once in two steps, the fourth device beside them")
