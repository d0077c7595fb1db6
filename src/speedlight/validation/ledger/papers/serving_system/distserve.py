"""DistServe: prompts on devices of their own, so that a prompt never stands between two tokens.

Both pools are sized and laid out for their own objective; each request's keys and values cross a link once. Where objectives are loose the
idle part of either pool is lost, and the split pays nothing.
"""

from __future__ import annotations

from typing import Any

from .....serving.metrics import parse_slo
from ... import loads
from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives

# (prompt tokens, answer tokens, time to first token, time per token): a chat, a summary of a document.
USES = ((755, 200, 0.25, 0.04), (1740, 90, 1.5, 0.06))


@derives("distserve#1")
def goodput(bench: Bench) -> Finding:
    """Requests a second and device within objectives for nine of ten."""
    spans = []
    model, machine = "opt-13b", "a100-sxm-80gb"
    for isl, osl, first, token in bench.unstated(
        "tokens in and out, objectives (s)", USES, "chats and summaries with objectives of a few decode steps"
    ):
        load: dict[str, Any] = {"rate": 1.0, "isl": isl, "osl": osl, "spread": 0.5, "requests": 40, "policy": "vllm@0"}
        before = bench.serve(model, machine, **load)
        measure = loads.rate_within(parse_slo(f"ttft:p90<{first}s,tpot:p90<{token}s"), halvings=6)
        splits = [  # it plans the split: the best of a few
            bench.serve(model, machine, [f"disaggregated-prefill:prefill={p},decode={d}"], link=300e9, **load)
            for p, d in ((1, 1), (2, 1), (1, 2))
        ]
        best = max(splits, key=lambda v: measure(v.base, v.load) / v.base.devices)
        spans.append(loads.ratio(before, best, measure, per_device=True, apart=False))
    return over(
        spans, "goodput a device, prompts first on shared engines against split pools over NVLink, the best of three splits; layouts of "
        "each pool's own, and losses of engines of its year, are left unexplained",
    )  # fmt: skip
