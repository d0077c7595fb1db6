"""SIGE: only the edited pixels, a hundredth of the image, are computed anew; gathering and scattering blocks remain.

The floor is what does not shrink with the edit: launches of many small kernels, attention's keys, copies between the caches.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives


@derives("efficient-spatially-sparse-inference-for-conditional-gans-an#3")
def stable_diffusion(bench: Bench) -> Finding:
    bench.stated(machine="rtx-3090", share=0.01, model="sd-1.5")
    spans = []
    for dtype in bench.unstated("dtype", ("fp32", "fp16")):
        for batch in bench.unstated("batch", (1, 2), "with or without guidance"):
            common: dict[str, Any] = {
                "phase": "forward",
                "batch": batch,
                "height": 512,
                "width": 512,
                "dtype": dtype,
                "stack": bench.given("stack", "torch-eager", "assumed"),
            }
            before, after = (bench.ask("sd-1.5", "rtx-3090", t, **common) for t in ((), ("edited-region:share=0.01",)))
            spans.append(bench.speedup(before, after))
    return over(
        spans,
        "a denoising step on gathered blocks around the edit; the baseline's own attention may be slower than fused attention is here",
    )
