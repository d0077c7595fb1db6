"""Data movement is all you need: bytes between kernels.

A BERT encoder layer in training is products and, between them, biases, activations, dropouts, norms and softmaxes that each read and
write their operands. Fused into loops their intermediates stay on the chip; what binds the layer is memory for the larger part, so that
a cut of the bytes by 22.91 % allows 1/(1 − 0.2291) = 1.30.
"""

from __future__ import annotations

from collections.abc import Iterator

from .....engine.answers.prediction import Prediction
from ...bench import Bench
from ...finding import Finding, Span, exactly, over
from ...registry import derives

BERT = (
    '{"model_type": "bert", "hidden_size": 1024, "num_hidden_layers": %d, "num_attention_heads": 16, "intermediate_size": 4096, '
    '"vocab_size": 30522, "max_position_embeddings": 512, "type_vocab_size": 2, "_name_or_path": "bert-large"}'
)


def _pairs(bench: Bench, layers: int) -> Iterator[tuple[Prediction, Prediction]]:
    """Training steps call by call and fused."""
    bench.given("model", "bert-large", "assumed", "BERT; its size is not stated")
    for machine in bench.unstated("machine", ("v100-sxm2-16gb",), "a GPU of 2020 with matrix units"):
        for batch, isl in bench.unstated("batch and isl", ((8, 512), (96, 128)), "BERT's two pre-training lengths"):
            common = {"phase": "train", "batch": batch, "isl": isl, "dtype": "fp16", "stack": "torch-eager@1.13"}
            yield tuple(  # type: ignore[misc]
                bench.ask(BERT % layers, machine, ["written-out-attention", *t], **common)
                for t in ([], ["operator-fusion"])
            )


@derives("data-movement-is-all-you-need#1")
def moved(bench: Bench) -> Finding:
    """Bytes of the layers, before and after."""
    spans = []
    for (x2, y2), (x1, y1) in zip(_pairs(bench, 4), _pairs(bench, 2), strict=True):
        before, after = float(x2.bytes - x1.bytes), float(y2.bytes - y1.bytes)
        spans.append(exactly(bench.size(100 * (1 - after / before))))
    return over(
        spans,
        "bytes of two encoder layers in training: everything between products fused into loops against call by call",
    )


@derives("data-movement-is-all-you-need#2")
def layer(bench: Bench) -> Finding:
    """Seconds of the layers."""
    spans = []
    for (x2, y2), (x1, y1) in zip(_pairs(bench, 4), _pairs(bench, 2), strict=True):
        made = bench.speedup(x2, y2)
        ratio = float((x2.time - x1.time) / (y2.time - y1.time))
        wide = ratio / made.value
        limit = float(y2.limit - y1.limit)
        spans.append(Span(made.low * wide, ratio, made.high * wide, float(x2.time - x1.time) / limit))
    return over(
        spans,
        "seconds of two encoder layers in training, fused against call by call; layouts are the library's on both sides",
    )


@derives("data-movement-is-all-you-need#3")
def network(bench: Bench) -> Finding:
    """Seconds of the whole network's training step."""
    return over(
        [bench.speedup(before, after) for before, after in _pairs(bench, 24)],
        "24 layers with embeddings, head and optimizer, which the fusion leaves as they are",
    )
