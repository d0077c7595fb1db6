"""MCUNetV2: the layers at high resolution patch by patch.

Of MobileNetV2 at 224 pixels the first block holds two images of 96 channels at 112 pixels; a third of a side at a time, with halos, they
shrink nine times less the borders, and what the block hands on becomes the largest.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives


@derives("mcunetv2#1")
def peak(bench: Bench) -> Finding:
    """Peak of activations by liveness, layer by layer against patch by patch."""
    spans = []
    for patches in bench.unstated("patches", (3, 4)):
        common: dict[str, Any] = {"phase": "forward", "batch": 1, "stack": "ideal"}
        before = bench.ask("mobilenetv2_100", "stm32h743", **common)
        after = bench.ask("mobilenetv2_100", "stm32h743", [f"patch-based-inference:patches={patches}"], **common)
        ratio = float(before.memory.by_class["activations"]) / float(after.memory.by_class["activations"])
        spans.append(exactly(bench.size(ratio)))
    return over(spans, "MobileNetV2, the largest sum of tensors alive at once; the ratio holds in any number format")
