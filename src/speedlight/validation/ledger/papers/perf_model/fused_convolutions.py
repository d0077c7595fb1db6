"""On the efficiency of convolutional networks: thin convolutions wait for memory; fused block by block their intermediate images stay on
the chip, and time is operations over peak again.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives


@derives("on-the-efficiency-of-convolutional-neural-networks#1")
def fused(bench: Bench) -> Finding:
    """ConvNeXt layer by layer against the same work with nothing between a block's layers leaving the chip."""
    spans = []
    for machine in bench.unstated("machine", ("rtx-a5000", "rtx-3090", "a100-sxm-80gb")):
        for stack in bench.unstated("baseline", ("torch-eager", "torch-compile")):
            asked: dict[str, Any] = {"batch": 128, "dtype": "fp16"}
            before = bench.ask("convnext_tiny", machine, stack=stack, **asked)
            after = bench.ask("convnext_tiny", machine, stack="ideal", **asked)
            spans.append(bench.speedup(before, after))
    return over(
        spans, "ConvNeXt-T as a framework runs it against the same operations fused and at the machine's peaks; the source's own network "
        "does other work at equal accuracy",
    )  # fmt: skip
