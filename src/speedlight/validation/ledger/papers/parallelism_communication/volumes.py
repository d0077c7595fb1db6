"""Counted bytes and prices: GNNPipe's volumes, a volunteer's price, planned routes.

Cutting a graph sends every boundary vertex in every layer, cutting layers sends every vertex once a stage: the ratio grows with the
layers. Flows that a hash puts on links fall like balls into bins; planned ones do not.
"""

from __future__ import annotations

from .....costs.network.routing import pressure
from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives


def _ratio(layers: float, devices: int, neighbours: float) -> float:
    """Vertices sent by graph parallelism over those sent by a pipeline of layers.

    A vertex' features go to every other device that holds one of its neighbours, drawn at random; a pipeline sends each vertex from
    stage to stage.
    """
    met: float = (devices - 1) * (1 - (1 - 1 / devices) ** neighbours)
    return layers * met / (devices - 1)


@derives("gnnpipe#3")
def volume(bench: Bench) -> Finding:
    """The most over graphs and depths."""
    spans = []
    for layers in bench.unstated("layers", (16, 24, 32), "deep GNNs"):
        for neighbours in bench.unstated("neighbours of a vertex", (8, 25, 60), "citation to social graphs"):
            for devices in bench.unstated("devices", (8, 16)):
                found = _ratio(bench.size(float(layers)), devices, neighbours)
                spans.append(Span(found, found, found, float(layers)))
    return over(
        spans,
        "vertices that cross devices in every layer against once a stage, on a graph cut at random; a good cut sends fewer",
    )


@derives("gnnpipe#7")
def law(bench: Bench) -> Finding:
    """The log-log slope of the ratio along the layers."""
    layers = [4.0, 8.0, 16.0, 32.0, 64.0]
    bench.given("layers", layers)
    slope = bench.slope(layers, [_ratio(bench.size(n), 8, 25.0) for n in layers])
    return over([slope], "bytes of graph parallelism grow with the layers, those of a pipeline do not")


@derives("towards-crowdsourced-training-of-large-neural-networks-using#2")
def desktops(bench: Bench) -> Finding:
    """Desktops that the pod's price buys."""
    pod = bench.given("cost of the pod (USD)", 250e6)
    count = bench.size(pod) / bench.given("price of a desktop (USD)", 2500.0)
    return over([Span(count, count, count)], "one price over the other")


@derives("boosting-large-scale-parallel-training-efficiency-with-c4#2")
def planned_routes(bench: Bench) -> Finding:
    """Seconds of a step with planned routes, per cent less than with hashed ones."""
    spans = []
    for share in bench.unstated("communication's share of a step", (0.2, 0.3, 0.4), "moderate"):
        for uplinks in bench.unstated("uplinks of a leaf", (8, 16, 32)):
            crowded = float(pressure("hashed", uplinks, uplinks))
            less = 100 * bench.size(share) * (1 - 1 / crowded)
            spans.append(Span(less, less, less, 100 * share))
    return over(
        spans, "the busiest of a leaf's uplinks under hashed flows, four a device, against the mean of planned ones"
    )
