"""InstInfer: decode attention inside computational SSDs.

At long contexts a step is the reading of keys and values. Through a file on an SSD they come at the SSD's rate; inside, at that of its
flash channels together.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives


@derives("instinfer#1")
def throughput(bench: Bench) -> Finding:
    """Two to four drives of eight channels against FlexGen's file on as good a disk."""
    bench.stated(machine="rtx-a6000", model="opt-13b", stack="flexgen")
    spans = []
    for rate in bench.unstated("overrides", (3.5e9, 7.0e9), "bytes/s FlexGen reads its file at"):
        for channels in bench.unstated("channels", (16, 32), "two and four drives of eight flash channels"):
            common: dict[str, Any] = {
                "phase": "decode",
                "batch": 64,
                "context": 2048,
                "dtype": "fp16",
                "stack": "flexgen",
            }
            before = bench.ask(
                "opt-13b", "rtx-a6000", ["kv-offload:tier=disk"], overrides={"tiers.nvme.bandwidth": rate}, **common
            )
            after = bench.ask("opt-13b", "rtx-a6000", [f"in-storage-attention:channels={channels}"], **common)
            spans.append(bench.speedup(before, after, "throughput"))
    return over(
        spans, "all keys and values over the disk's interface against the same bytes at the rate of its channels"
    )
