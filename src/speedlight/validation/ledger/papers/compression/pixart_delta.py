"""PixArt-δ: two to four denoising passes without guidance in the place of some fourteen with it.

Each guided step is two passes, so 14 · 2 + 1 become 4 + 1 with the decoder; the text encoder, half of the weights' bytes, is read once.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives

MODEL = "pixart-alpha-xl-2-1024-ms"
FEW = "fewer-steps:steps={}"


@derives("pixart#2")
def image(bench: Bench) -> Finding:
    bench.stated(model=MODEL, height=1024, width=1024)
    spans = []
    for machine in bench.unstated(
        "machine", ("v100-sxm2-32gb", "a100-sxm-80gb"), "the V100 of the training figure, or an A100"
    ):
        for steps in bench.unstated("steps", (2, 4), "the abstract's range"):
            common: dict[str, Any] = {
                "phase": "generate",
                "batch": bench.given("batch", 1, "published"),
                "height": 1024,
                "width": 1024,
                "dtype": "fp16",
                "stack": "torch-eager",
            }
            spans.append(bench.time(bench.ask(MODEL, machine, [FEW.format(steps), "guidance-distillation"], **common)))
    return over(spans, "text encoder, two to four passes, decoder of pictures", more=False)


@derives("pixart#3")
def speedup(bench: Bench) -> Finding:
    bench.stated(model=MODEL, height=1024, width=1024)
    spans = []
    for machine in bench.unstated(
        "machine", ("v100-sxm2-32gb", "a100-sxm-80gb"), "the V100 of the training figure, or an A100"
    ):
        for steps in bench.unstated("baseline's steps", (14, 20), "usual settings of its sampler"):
            for few in bench.unstated("steps", (2, 4), "the abstract's range"):
                common: dict[str, Any] = {"phase": "generate", "batch": bench.given("batch", 1, "published"), "steps": steps, "guidance": True, "height": 1024,
                          "width": 1024, "dtype": "fp16", "stack": "torch-eager"}  # fmt: skip
                before = bench.ask(MODEL, machine, **common)
                spans.append(
                    bench.speedup(
                        before, bench.ask(MODEL, machine, [FEW.format(few), "guidance-distillation"], **common)
                    )
                )
    return over(spans, "an image with guidance in 14 or 20 steps over one without in 2 or 4")


@derives("pixart#5")
def memory(bench: Bench) -> Finding:
    """Text encoder and transformer in 8 bits, the rest of an image's memory as it is."""
    bench.stated(model=MODEL, height=1024, width=1024, weights="int8")
    found = []
    for stack in bench.unstated("stack", ("torch-eager", "torch-compile")):
        answer = bench.ask(MODEL, bench.given("machine", "rtx-4090", "published", "any: bytes alone count"), [FEW.format(4), "guidance-distillation"],
                           phase="generate", batch=bench.given("batch", 1, "published"), height=1024, width=1024, dtype="fp16", stack=stack)  # fmt: skip
        total, weights = bench.memory(answer).value, bench.memory(answer, "weights").value
        found.append(exactly((total - weights + bench.size(weights) * bench.bits("int8") / bench.bits("fp16")) / 1e9))
    return over(found, "10.9 GB of weights halved, and an image's activations in 16 bits", more=False)
