"""Faster neighbourhood attention: a window of keys around each query.

Products are linear in the tokens once the window is shorter than they are. How much faster a fused kernel is than the naive ones before
it is those kernels' quality: they multiplied on vector units.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, over
from ...kernels import attention, kernel
from ...registry import derives


@derives("faster-neighborhood-attention#7")
def law(bench: Bench) -> Finding:
    """FLOPs against tokens, on a log-log scale."""
    bench.given("machine", "a100-sxm-80gb", "published", "of no account to FLOPs")
    bench.given("stack", "ideal", "published", "of no account to FLOPs")
    tokens = bench.given("tokens", [2**i for i in range(10, 17)])
    label = ["neighborhood-attention:window=169"]
    asked = [attention(1, n * bench.perturbed.sizes, 8, 64) for n in tokens]
    flops = [float(kernel(bench, "windowed attention", s, "a100-sxm-80gb", label, stack="ideal").flops) for s in asked]
    return over([bench.slope(tokens, flops)], "FLOPs of attention with a window of 13 × 13 over 1024 to 65536 tokens")
