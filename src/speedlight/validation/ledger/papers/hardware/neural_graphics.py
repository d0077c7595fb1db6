"""Neural graphics: encoding and small products on engines of their own, the rest fused.

With a share s of the time on engines N times as fast and the rest 9.94 times as fast by fusion, 1 / (s/N + (1 − s)/9.94): for the stated
72 % never more than 35.5. The averages over four applications exceed it: a mean of gains is no gain at the mean share.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives

SHARE, FUSED = 0.72, 9.94


def _gain(bench: Bench, engines: float) -> Finding:
    bench.stated(share=SHARE, fusion=FUSED, engines=engines)
    share = SHARE * bench.perturbed.sizes
    value = 1.0 / (share / engines + (1.0 - share) / FUSED)
    bound = FUSED / (1.0 - share)
    found = exactly(value)
    return over(
        [type(found)(value, value, value, bound)],
        f"Amdahl at the mean share of {SHARE:.0%}, whose cap is {FUSED / (1 - SHARE):.1f}; left unexplained: each application's own share, which the "
        "mean of their gains is made of",
    )


@derives("hardware-acceleration-of-neural-graphics#8")
def eight(bench: Bench) -> Finding:
    return _gain(bench, 8.0)


@derives("hardware-acceleration-of-neural-graphics#9")
def sixteen(bench: Bench) -> Finding:
    return _gain(bench, 16.0)


@derives("hardware-acceleration-of-neural-graphics#10")
def thirty_two(bench: Bench) -> Finding:
    return _gain(bench, 32.0)


@derives("hardware-acceleration-of-neural-graphics#11")
def sixty_four(bench: Bench) -> Finding:
    return _gain(bench, 64.0)
