"""SSDTrain: saved activations leave behind the forward pass and come back ahead of the backward pass.

What stays is what layers under way hold, and what is not offloaded: a model of few wide layers keeps half.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives


@derives("ssdtrain#1")
def peak(bench: Bench) -> Finding:
    """The layer at work and the next one's, of the few layers that a device of a pipeline has."""
    spans = []
    for layers in bench.unstated(
        "layers on a device", (3, 4, 5), "hidden widths of 8 to 16 thousand leave room for few"
    ):
        for beyond in bench.unstated("activations of the loss, in layers", (0.0, 0.5)):
            spans.append(exactly(100 * (1 - (2 + beyond) / (bench.size(layers) + beyond))))
    return over(spans, "two layers of activations under way, against all of them")
