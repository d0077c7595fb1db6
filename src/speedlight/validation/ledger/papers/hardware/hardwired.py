"""Hardwired neurons: weights as wires, against a GPU that reads them and a wafer that holds them.

249,960 tokens/s over 5,555 are 45 tokens/s: one request at a time on the GPU, and slower than its memory allows. 36 tokens/J at that rate
are 6.9 kW, what 13,232 mm² of logic draw at half a watt a square millimetre.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, Span, exactly, over
from ...registry import derives

RATE = 249_960.0  # tokens/s, its own simulation
DIE = 13_232.0  # mm²


def _gpu(bench: Bench) -> list[Span]:
    """Tokens/s of one H100 at one request."""
    bench.stated(model="gpt-oss-120b", rate=RATE)
    bench.given("machine", "h100-sxm-80gb", "published", "H100 clusters are its baseline")
    spans = []
    for stack in bench.unstated("stack", ("transformers", "vllm"), "the GPU's software is not named"):
        answer = bench.ask("gpt-oss-120b", "h100-sxm-80gb", phase="decode", batch=1, context=2048, stack=stack)
        spans.append(bench.rate(answer))
    return spans


@derives("hardwired-neurons-language-processing-units-as-general-purpo#2")
def over_gpu(bench: Bench) -> Finding:
    spans = [s.mapped(lambda rate: RATE / rate) for s in _gpu(bench)]
    return over(
        spans,
        "its stated rate over what one request at a time gets from an H100: the baseline is weak twice, by its batch and its kernels",
    )


@derives("hardwired-neurons-language-processing-units-as-general-purpo#3")
def over_wafer(bench: Bench) -> Finding:
    """A wafer holds a part of the model; a system of several runs it as one pipeline of one request."""
    bench.stated(model="gpt-oss-120b", rate=RATE)
    active = float(bench.facts("gpt-oss-120b")["active_params"]) * 2.0
    wafer = bench.machine("wse-2")
    layers = bench.given("layers", 36.0, "published", "gpt-oss-120b's configuration")
    spans = []
    for ops in bench.unstated("dependent ops of a layer", (8.0, 16.0, 32.0)):
        seconds = layers * ops * bench.size(float(wafer.engine.fill_s)) + active / float(wafer.main.bandwidth)
        spans.append(exactly(RATE * seconds))
    return over(spans, "its stated rate over one request's on wafers: the way across the wafer at every dependent op")


@derives("hardwired-neurons-language-processing-units-as-general-purpo#4")
def efficiency(bench: Bench) -> Finding:
    area = bench.size(bench.stated(rate=RATE, area=DIE)["area"])
    spans = [
        exactly(RATE / (area * density))
        for density in bench.unstated("watts a mm²", (0.4, 0.6), "logic of 5 nm at full use")
    ]
    return over(spans, "tokens/s over the power of its dies")


@derives("hardwired-neurons-language-processing-units-as-general-purpo#5")
def over_gpu_energy(bench: Bench) -> Finding:
    tdp = float(bench.machine("h100-sxm-80gb").tdp_w or 700.0)
    spans = []
    for system in bench.unstated("watts of a GPU with its part of the box", (tdp, 10200.0 / 8)):
        spans += [s.mapped(lambda rate, w=system: 36.0 / (rate / w)) for s in _gpu(bench)]  # type: ignore[misc]
    return over(spans, "36 tokens/J over what one request gets from an H100 and its part of a DGX's power")


@derives("hardwired-neurons-language-processing-units-as-general-purpo#8")
def area(bench: Bench) -> Finding:
    wafer = bench.given("wafer diameter", 300.0, "published", "mm")
    return over([exactly(100 * bench.size(DIE) / (wafer * wafer / 2))], "its dies over the square inscribed in a wafer")
