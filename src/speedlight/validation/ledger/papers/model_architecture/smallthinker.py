"""SmallThinker: fine-grained experts with sparse neurons, so that a token touches a small share of the weights.

On a processor a token costs the bytes it touches: at 4.5 bits a weight 0.6 B parameters are 0.34 GB, 3 B are 1.7 GB. Experts
that are not in memory come from the disk while attention computes; only what is resident bounds the stated figures.
"""

from __future__ import annotations

import json

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives


def _config(layers: int, hidden: int, heads: int, kv: int, experts: int, picks: int, width: int) -> str:
    return json.dumps({
        "model_type": "qwen3_moe", "_name_or_path": f"smallthinker-{layers}", "hidden_size": hidden, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": kv, "head_dim": 128, "num_experts": experts, "num_experts_per_tok": picks,
        "moe_intermediate_size": width, "intermediate_size": width, "vocab_size": 151936, "max_position_embeddings": 16384,
        "tie_word_embeddings": hidden < 2048, "torch_dtype": "bfloat16", "decoder_sparse_step": 1, "mlp_only_layers": [],
    })  # fmt: skip


LARGE = _config(52, 2560, 28, 4, 64, 6, 768)
SHAPES = "published configuration: layers, width, experts and picks"


@derives("smallthinker#1")
def decode(bench: Bench) -> Finding:
    """Tokens a second on processors of desktops, all experts in memory: what is not resident only slows it."""
    bench.stated(weights="q4_0", stack="llama.cpp")
    bench.given("model", "SmallThinker-21B-A3B, the slower of the two", "published", SHAPES)
    spans = []
    for machine in bench.unstated(
        "machine", ("i9-13900k", "ryzen-9-7950x", "i7-12700h"), "ordinary consumer processors"
    ):
        answer = bench.ask(LARGE, machine, phase="decode", batch=1, context=1024, weights="q4_0", stack="llama.cpp")
        spans.append(bench.rate(answer))
    return over(
        spans,
        "a step's reads of active weights and cache from memory; sparse neurons inside experts, which read less, and misses to the disk, which cost more, are left out",
    )
