"""ToMe for Stable Diffusion: 60 % of the tokens of the outermost attention level merged before attention, spread again behind it.

The pipeline of the time wrote its scores out, head by head and pair by pair: 0.4² of them are left. On large images scores are nearly all
there is, and fused attention beside merging leaves neither.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, exactly, over
from ...registry import derives

MERGED, WRITTEN = "latent-token-merging:ratio=0.6", "written-out-attention"


def _asked(bench: Bench, machine: str, pixels: int) -> dict[str, Any]:
    bench.given("merged", 0.6, "assumed", "the most that the mechanism's description names; the figure is kept apart")
    bench.given("model", "sd-1.5", "published")
    return {"phase": "forward", "batch": bench.given("batch", 2, "assumed", "an image with guidance"), "height": pixels, "width": pixels,
            "dtype": bench.given("dtype", "fp16", "assumed"), "stack": bench.given("stack", "torch-eager", "assumed")}  # fmt: skip


def _spans(bench: Bench, sizes: tuple[int, ...], after: tuple[str, ...]) -> list[Span]:
    spans = []
    for machine in bench.unstated("machine", ("rtx-4090", "rtx-3090", "rtx-a6000")):
        for pixels in bench.unstated("pixels a side", sizes):
            common = _asked(bench, machine, pixels)
            spans.append(
                bench.speedup(
                    bench.ask("sd-1.5", machine, [WRITTEN], **common), bench.ask("sd-1.5", machine, after, **common)
                )
            )
    return spans


@derives("token-merging-for-fast-stable-diffusion#2")
def speed(bench: Bench) -> Finding:
    return over(
        _spans(bench, (512,), (WRITTEN, MERGED)),
        "a denoising step with scores written out, on 0.4 of the outermost tokens and on all",
    )


@derives("token-merging-for-fast-stable-diffusion#3")
def memory(bench: Bench) -> Finding:
    """What a step takes beside weights and the runtime: the scores of the largest attention."""
    common = _asked(bench, "rtx-4090", 512)
    machine = bench.given("machine", "rtx-4090", "published", "any: bytes alone count")
    before, after = (
        bench.memory(bench.ask("sd-1.5", machine, t, **common), "activations").value
        for t in ((WRITTEN,), (WRITTEN, MERGED))
    )
    return over(
        [exactly(before / after)], "activations at the peak of a step; scores fall with the square of what is left"
    )


@derives("token-merging-for-fast-stable-diffusion#4")
def with_fused_attention(bench: Bench) -> Finding:
    return over(
        _spans(bench, (1024,), (MERGED,)), "large images, merged and with fused attention, over the pipeline as it was"
    )
