"""Wan: video diffusion transformers behind an autoencoder; the small one on a consumer card."""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives


@derives("wan#3")
def memory(bench: Bench) -> Finding:
    """What a card holds while the small model denoises 480 × 832 pixels, the text encoder moved to the host."""
    bench.stated(model="wan2.1-t2v-1.3b")
    spans = []
    for stack in bench.unstated("stack", ("torch-eager", "torch-compile")):
        for guidance in bench.unstated("guided halves together", (True, False)):
            passes = {"passes": 2 if guidance else 1}
            answer = bench.ask(
                "wan2.1-t2v-1.3b",
                "rtx-4090",
                phase="forward",
                batch=1,
                height=480,
                width=832,
                frames=81,
                stack=stack,
                symbols=passes,
            )
            for decoder in bench.unstated(
                "bytes of the decoder at work", (0.5e9, 5e9), "its tiles: the carried models have no decoder of videos"
            ):
                spans.append(exactly(bench.size((float(answer.memory.total) + decoder) / 1e9)))
    return over(
        spans,
        "weights, activations and the runtime's memory of a denoising step; the text encoder on the host; the decoder's tiles bounded, not derived",
        more=False,
    )
