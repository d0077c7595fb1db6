"""ProxylessNAS: one path of a super-network in memory at a time; memory of the others is what grows with the candidates."""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives


@derives("proxylessnas#2")
def growth(bench: Bench) -> Finding:
    """Slope of what a training step keeps over the candidates of each layer that are all computed."""
    spans = []
    for model in bench.unstated("model", ("mobilenetv2_100",), "the blocks such spaces are made of"):
        one = bench.ask(model, "v100-sxm2-32gb", phase="train", batch=32, optimizer="sgd_momentum")
        kept = float(one.memory.by_class["activations"])
        rest = float(one.memory.by_class["reserve"])
        counts = (4, 8, 16)
        sizes = [rest + n * kept for n in counts]
        found = bench.slope(counts, sizes)
        spans.append(Span(found.low, found.value, found.high))
    return over(spans, "every candidate's maps kept beside what does not grow with them")
