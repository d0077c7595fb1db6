"""GLM-130B: weights in 4 bits, so that a dense model of 130 B parameters fits a few consumer cards.

65 GB of weights divided by heads: the least number of cards that both divides the model and holds its share.
"""

from __future__ import annotations

import json

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives

# Sizes of the published model as a configuration of gated layers: 70 layers of width 12,288, 96 heads, 150,528 words.
GLM = json.dumps({
    "model_type": "llama", "_name_or_path": "glm-130b", "hidden_size": 12288, "num_hidden_layers": 70, "num_attention_heads": 96,
    "num_key_value_heads": 96, "intermediate_size": 32768, "vocab_size": 150528, "max_position_embeddings": 2048,
    "tie_word_embeddings": True, "torch_dtype": "float16",
})  # fmt: skip


def _least(bench: Bench, machine: str) -> Finding:
    bench.given(
        "model",
        "130e9 parameters: 70 layers of 12,288, 96 heads, 32,768 neurons",
        "published",
        "GLM-130B, arXiv 2210.02414",
    )
    bench.stated(machine=machine, weights="int4")
    spans = []
    for context in bench.unstated("context", (512, 2048)):
        fitting = []
        for cards in (1, 2, 4, 8, 16):
            answer = bench.ask(
                GLM, machine, phase="decode", batch=1, context=context, weights="int4", tp=cards, stack="transformers"
            )
            need = bench.size(float(answer.memory.total))
            if need <= float(answer.memory.capacity):
                fitting.append(cards)
        spans.append(exactly(float(fitting[0]) if fitting else 32.0))
    return over(
        spans,
        "cards in a power of two, as they divide 96 heads, whose memory holds their share of weights, cache and the runtime's own",
        more=False,
    )


@derives("glm-130b#3")
def ampere(bench: Bench) -> Finding:
    return _least(bench, "rtx-3090")


@derives("glm-130b#4")
def turing(bench: Bench) -> Finding:
    return _least(bench, "rtx-2080-ti")
