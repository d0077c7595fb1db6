"""KVSharer: layers attend to another, dissimilar layer's keys and values instead of their own.

Sharing layers neither compute nor keep keys and values, and read as many as before: capacity falls, traffic does not. Time changes by
two projections a layer, and by the batch that the freed memory takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...bench import Bench
from ...finding import Finding, Span, exactly, over
from ...registry import derives

MODELS = ("llama-2-7b", "llama-2-13b")


def _questions(bench: Bench) -> Iterator[tuple[str, dict[str, Any]]]:
    for model in bench.unstated("model", MODELS):
        for context in bench.unstated("context", (1024, 4096)):
            yield model, {"phase": "decode", "batch": 1, "context": context}


@derives("kvsharer#1")
def share_of_memory(bench: Bench) -> Finding:
    """The cache's share of what inference keeps, where the batch fills the memory."""
    spans = []
    for machine in bench.unstated("machine", ("a100-sxm-80gb", "h100-sxm-80gb")):
        for model, question in _questions(bench):
            full = bench.ask(model, machine, ["fill-memory"], **question)
            kv, weights = (bench.memory(full, cls).value for cls in ("kv", "weights"))
            spans.append(exactly(100 * kv / (kv + weights)))
    return over(spans, "keys and values over keys, values and weights when the card is full of sequences")


@derives("kvsharer#2")
def computed(bench: Bench) -> Finding:
    """Keys and values not computed: those of the layers that share, projection by projection."""
    spans = []
    for layers in bench.unstated("share of the layers that share", (0.25, 0.375)):
        for model, question in _questions(bench):
            whole = bench.ask(model, "a100-sxm-80gb", **question)
            shared = bench.ask(model, "a100-sxm-80gb", [f"kv-layer-sharing:layers={bench.size(layers)}"], **question)
            spans.append(exactly(100 * (1 - bench.memory(shared, "kv").value / bench.memory(whole, "kv").value)))
    return over(
        spans,
        "what is not kept is not computed: projections of the layers that share, over all that make keys and values",
    )


@derives("kvsharer#3")
def generation(bench: Bench) -> Finding:
    """Tokens a second at an equal batch, or with the batch grown into what is freed."""
    spans: list[Span] = []
    for layers in bench.unstated("share of the layers that share", (0.25, 0.375)):
        technique = f"kv-layer-sharing:layers={layers}"
        for model, question in _questions(bench):
            for fills in bench.unstated("freed memory", ("stays free", "takes further sequences")):
                more = ["fill-memory"] if fills != "stays free" else []
                before = bench.ask(model, "a100-sxm-80gb", more, **question)
                after = bench.ask(model, "a100-sxm-80gb", [technique, *more], **question)
                spans.append(bench.speedup(before, after, of="throughput"))
    return over(
        spans,
        "projections left out, and with a larger batch the weights read for more tokens; each layer reads as many keys as before, so "
        "a step full of keys gains nothing by capacity. What is left: a baseline that copies its cache to append to it",
    )
