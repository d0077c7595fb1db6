"""FlashInfer: a prefix of parallel generations read once.

n answers to one prompt share its keys and values: read once for all of them instead of n times, a step saves that share of its bytes.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives


@derives("flashinfer#3")
def parallel(bench: Bench) -> Finding:
    """Decode steps with several answers to each prompt."""
    spans = []
    for machine in bench.unstated("machine", ("a100-sxm-80gb", "h100-sxm-80gb")):
        for answers in bench.unstated("answers a prompt", (4, 8)):
            for share in bench.unstated("share of the context in common", (0.5, 0.8)):
                common: dict[str, Any] = {"phase": "decode", "batch": 64, "context": 1024, "stack": "vllm"}
                label = f"cascade-attention:share={share},among={answers}"
                before, after = (
                    bench.ask("llama-3.1-8b", machine, **common),
                    bench.ask("llama-3.1-8b", machine, [label], **common),
                )
                made = bench.speedup(before, after).mapped(lambda x: (x - 1) * 100)
                allowed = 100 * (float(before.bytes / after.bytes) - 1)
                spans.append(dataclasses.replace(made, bound=max(made.value, allowed)))
    return over(spans, "reads of the shared prefix once a group; the claim counts whole requests, prompts too")
