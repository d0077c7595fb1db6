"""MegaBlocks: no rows for tokens that are not there.

Experts of a fixed capacity compute factor × the even share of rows; a factor that drops few tokens is the busiest expert's share. Block-
sparse products compute the rows there are. The rest of the step (attention, optimizer, exchanges) is as before.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives


@derives("megablocks#1")
def training(bench: Bench) -> Finding:
    """A training step with padded experts over without."""
    bench.given("phase", "train")
    spans = []
    for machine in bench.unstated("machine", ("a100-sxm-80gb",), "a GPU of 2022"):
        for factor in bench.unstated(
            "capacity factor", (1.25, 1.5, 2.0), "what keeps nearly all tokens: the busiest expert over the mean"
        ):
            common: dict[str, Any] = {
                "phase": "train",
                "batch": 64,
                "isl": 1024,
                "micro_batch": 8,
                "dp": 8,
                "ep": 8,
                "zero": 1,
                "dtype": "bf16",
                "stack": "megatron",
            }
            before = bench.ask("olmoe-1b-7b", machine, [f"expert-capacity:factor={factor}"], **common)
            made = bench.speedup(before, bench.ask("olmoe-1b-7b", machine, **common)).mapped(lambda x: (x - 1) * 100)
            spans.append(dataclasses.replace(made, bound=100 * (factor - 1)))  # were the step nothing but experts
    return over(
        spans,
        "a mixture of 64 experts whose rows are padded to the factor against unpadded; which factor no drops need depends on the routing",
    )
