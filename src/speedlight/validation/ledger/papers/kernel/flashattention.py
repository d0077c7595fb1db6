"""FlashAttention: scores, softmax and values in one kernel.

Written out, attention of N tokens passes N × N scores a head through memory, several times over with its mask, softmax and dropout,
in both directions; fused it moves queries, keys, values and results. How much of a training step that is depends on the model's
width against N, and on how much else of the step is written call by call: the baseline counts.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives


@derives("flashattention#1")
def bert(bench: Bench) -> Finding:
    """A training step of BERT-large at 512 tokens."""
    stated = bench.stated(phase="train", model="bert-large", isl=512)
    spans = []
    for machine in bench.unstated(
        "machine", ("a100-sxm-80gb",), "MLPerf training 1.1 of 2021: the fastest GPU of its records"
    ):
        for batch in bench.unstated("batch", (32, 56), "per GPU, what its memory holds"):
            common: dict[str, Any] = {"batch": batch, "dtype": "fp16", "stack": "deeplearningexamples", **stated}
            before, after = (
                bench.ask(machine=machine, **common),
                bench.ask(machine=machine, techniques=["flash-attention"], **common),
            )
            spans.append(bench.speedup(before, after).mapped(lambda x: (x - 1) * 100))
    return over(
        spans,
        "attention call by call, as NVIDIA's examples of 2020 have it, against one kernel. The record the claim is over had fused "
        "attention for up to 512 tokens already, whose gain is part of what is derived here",
    )


@derives("flashattention#2")
def gpt2(bench: Bench) -> Finding:
    """A training step of GPT-2 at 1024 tokens."""
    stated = bench.stated(phase="train", isl=1024)
    spans = []
    for machine in bench.unstated("machine", ("a100-sxm-40gb",)):
        for model in bench.unstated("model", ("gpt2", "gpt2-medium"), "GPT-2, size not stated"):
            for dtype in bench.unstated("dtype", ("amp", "fp16")):
                common: dict[str, Any] = {"batch": 16, "dtype": dtype, "stack": "torch-eager@1.13", **stated}
                before = bench.ask(model, machine, ["written-out-attention"], **common)
                spans += [
                    bench.speedup(before, bench.ask(model, machine, t, **common)) for t in ([], ["operator-fusion"])
                ]
    return over(
        spans,
        "an eager step with attention call by call, against fused attention, alone and with the fused losses, norms and dropouts of "
        "the authors' training code",
    )


LRA = (
    '{"model_type": "bert", "hidden_size": %d, "num_hidden_layers": %d, "num_attention_heads": %d, "intermediate_size": %d, '
    '"vocab_size": 256, "max_position_embeddings": 4096, "_name_or_path": "long-range-arena"}'
)


@derives("flashattention#3")
def long_range_arena(bench: Bench) -> Finding:
    """Small encoders on long sequences: attention is most of the step."""
    bench.given("model", "the long-range arena's encoders")
    spans = []
    for machine in bench.unstated("machine", ("a100-sxm-40gb",)):
        for width, heads in bench.unstated("width and heads", ((64, 2), (128, 2), (512, 8)), "of the arena's tasks"):
            for isl in bench.given("isl", (1024, 2048, 4096)):
                source = LRA % (width, 2 if width < 512 else 4, heads, 2 * width)
                common: dict[str, Any] = {
                    "phase": "train",
                    "isl": isl,
                    "batch": 32,
                    "dtype": "amp",
                    "stack": "torch-eager@1.13",
                }
                before = bench.ask(source, machine, ["written-out-attention"], **common)
                spans.append(bench.speedup(before, bench.ask(source, machine, **common)))
    return over(
        spans,
        "training steps of encoders of the arena's widths, attention call by call against one kernel; the claim is their mean",
    )
