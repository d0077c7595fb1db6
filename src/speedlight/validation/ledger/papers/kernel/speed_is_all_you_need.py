"""Speed is all you need: Stable Diffusion on a phone's GPU.

Twenty steps of the denoiser with and without the prompt at 512 × 512 are some 30 TFLOP; at half precision a phone's GPU takes seconds
for them at best. Fusion and attention without its matrix bring the network nearer to that; the engine takes the GPU's listed rates.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives


@derives("speed-is-all-you-need#1")
def image(bench: Bench) -> Finding:
    """Seconds of an image."""
    stated = bench.stated(model="sd-1.5", machine="galaxy-s23-ultra", phase="generate", height=512, width=512, steps=20)
    spans = [
        bench.time(bench.ask(batch=1, dtype="fp16", guidance=guidance, stack=stack, **stated))
        for guidance in bench.unstated("guidance", ("on",), "its usual use")
        for stack in bench.unstated("stack", ("torch-compile", "ideal"), "fused kernels of the authors' own")
    ]
    return over(
        spans, "the pipeline at the rates data bases list for the GPU; a phone that heats up clocks lower", more=False
    )


@derives("speed-is-all-you-need#2")
def parameters(bench: Bench) -> Finding:
    """Billions of parameters of the pipeline."""
    bench.given("model", "sd-1.5")
    bench.given("stack", "ideal", "published", "weights alone")
    for what, value in {
        "machine": "a100-sxm-80gb",
        "batch": 1,
        "dtype": "fp16",
        "steps": 20,
        "height": 512,
        "width": 512,
    }.items():
        bench.given(what, value, "published", "of no account to its weights")
    answer = bench.ask(
        "sd-1.5", "a100-sxm-80gb", phase="generate", batch=1, dtype="fp16", steps=20, height=512, width=512, stack="ideal"
    )  # fmt: skip
    return over(
        [exactly(bench.size(bench.memory(answer, "weights").value / 2 / 1e9))],
        "denoiser, text encoder and decoder, two bytes each",
    )
