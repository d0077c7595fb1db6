"""Co-design of shapes: products whose sizes fill tiles and waves of the matrix units waste fewer cycles at equal FLOPs.

Heads of 80 elements take the tiles of 128: half as many heads of 128, or more of 64, do the same FLOPs in fewer tiles.
"""

from __future__ import annotations

import json
from typing import Any

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives


def _layer(hidden: int, heads: int, batch: int, tokens: int) -> str:
    """Products of one transformer layer as an ops file."""
    rows, width = batch * tokens, hidden // heads

    def product(name: str, **sizes: int) -> dict[str, Any]:
        return {"name": name, "template": "gemm", "with": sizes}

    ops = [
        product("qkv", m=rows, n=3 * hidden, k=hidden),
        product("scores", m=tokens, n=tokens, k=width, batch=batch * heads),
        product("mix", m=tokens, n=width, k=tokens, batch=batch * heads),
        product("out", m=rows, n=hidden, k=hidden),
        product("up", m=rows, n=4 * hidden, k=hidden),
        product("down", m=rows, n=hidden, k=4 * hidden),
    ]
    return json.dumps({"schema": 1, "name": f"layer-{hidden}-{heads}", "dtype": "fp16", "ops": ops})


@derives("the-case-for-co-designing-model-architectures-with-hardware#1")
def aligned(bench: Bench) -> Finding:
    """Throughput gained by another number of heads, in %."""
    spans = []
    hidden = bench.given("hidden size", 2560, "assumed", "GPT-3 2.7B: 32 heads of 80")
    for machine in bench.unstated("machine", ("a100-sxm-40gb", "h100-sxm-80gb")):
        for tokens in bench.unstated("tokens of a sequence", (2048, 4096)):
            slow = bench.ask(_layer(hidden, 64, 4, tokens), machine)
            for heads in bench.unstated("heads", (20, 40)):
                made = bench.speedup(slow, bench.ask(_layer(hidden, heads, 4, tokens), machine))
                spans.append(made.mapped(lambda x: (x - 1) * 100))
    return over(
        spans, "a layer's products with 64 heads of 40 against 20 of 128 or 40 of 64, attention written out as products"
    )
