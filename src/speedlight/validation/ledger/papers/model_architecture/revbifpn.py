"""RevBiFPN: all layers reversible, so training keeps the end of the network and no layer's input.

Against a network that keeps everything, the saving is its kept maps over the widest stage's, once.
"""

from __future__ import annotations

from .....frontends.source import load_graph
from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives
from .images import outputs

KEPT = 3.0  # maps kept a convolution: its input, its norm's and its rectifier's


@derives("revbifpn#1")
def training(bench: Bench) -> Finding:
    """Maps that EfficientNets keep for a backward pass over those of the finest stage of a reversible network of one layer."""
    spans = []
    for name in bench.unstated(
        "network", ("efficientnet_b4", "efficientnet_b5", "efficientnet_b7"), "the larger members, for 'up to'"
    ):
        side = load_graph(name).attrs["inputs"][0][1][-1]
        whole = KEPT * outputs(name)
        for channels in bench.unstated(
            "channels", (48, 64), "of the finest of a reversible pyramid's streams, at a quarter of the image's side"
        ):
            pyramid = (
                channels * (side / 4) ** 2 * (1 + 1 / 2 + 1 / 4 + 1 / 8)
            )  # streams of halved sides and doubled channels
            working = 2 * KEPT * channels * (side / 4) ** 2 * 4  # a bottleneck of the finest stream, computed again
            spans.append(exactly(bench.size(whole / (pyramid + working))))
    return over(
        spans,
        "numbers kept an image at the network's own size; the pyramid's ends and one bottleneck being computed again, weights aside",
    )
