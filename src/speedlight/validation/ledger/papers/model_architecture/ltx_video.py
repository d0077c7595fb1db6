"""LTX-Video: latents of 32 × 32 × 8 pixels a token, so that full attention over a clip is cheap."""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives

STATED: dict[str, Any] = {"height": 512, "width": 768, "frames": 121}


@derives("ltx-video#2")
def pixels(bench: Bench) -> Finding:
    """Pixels of the clip over tokens of a step, first frame left out."""
    bench.stated(model="ltx-video")
    answer = {
        f: bench.ask("ltx-video", "h100-sxm-80gb", phase="forward", batch=1, height=512, width=768, frames=f)
        for f in (9, 17)
    }
    tokens = [a.scenario.program.workload.isl for a in answer.values()]
    bench.inputs[:] = [g for g in bench.inputs if g.what == "model"]  # exact: no setting of the machine enters
    return over(
        [exactly(bench.size(8 * 512 * 768 / (tokens[1] - tokens[0])))],
        "pixels of eight more frames over the tokens they add",
        more=False,
    )


@derives("ltx-video#1")
def compression(bench: Bench) -> Finding:
    """Numbers of a token's pixels over numbers of its latent."""
    bench.stated(model="ltx-video")
    channels = bench.given("latent channels", 128, "published", "LTX-Video's configuration, in_channels")
    per_token = pixels(bench).value
    return over([exactly(3 * per_token / channels)], "three numbers a pixel over the channels of a latent")


@derives("ltx-video#3")
def seconds(bench: Bench) -> Finding:
    """Five seconds of 24 frames a second at 768 × 512; steps and guidance are left open."""
    bench.stated(model="ltx-video", **STATED)
    spans = []
    for machine in bench.unstated("machine", ("h100-sxm-80gb", "h100-pcie-80gb"), "an H100"):
        for steps, guidance in bench.unstated(
            "steps, guidance", ((20, False), (40, True)), "few enough for two seconds, or the pipeline's usual"
        ):
            answer = bench.ask(
                "ltx-video",
                machine,
                phase="generate",
                batch=1,
                steps=steps,
                guidance=guidance,
                stack="torch-compile",
                **STATED,
            )
            spans.append(bench.time(answer))
    return over(
        spans, "text encoder and denoising steps; the decoder of latents is not among the carried models", more=False
    )
