"""S2-attention: each head with a shard of the context.

With so many shards a head multiplies, keeps and reads that fraction of the pairs and tokens: attention is that much less work, and how
much of a step it was decides the rest (6× end to end with 25.3× on attention means attention was at least 87 % of the step).
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, over
from ...kernels import attention, faster, kernel
from ...registry import derives


@derives("efficient-llm-training-and-serving-with-heterogeneous-contex#1")
def alone(bench: Bench) -> Finding:
    """Attention by itself."""
    spans = []
    for machine in bench.unstated("machine", ("a100-sxm-80gb", "h100-sxm-80gb")):
        for shards in bench.unstated("shards", (8, 16, 32)):
            source = attention(1, int(bench.size(131072)), 32, 128, causal=True)
            before = kernel(bench, "attention of 131072 tokens", source, machine, stack="ideal")
            after = kernel(
                bench,
                "attention of 131072 tokens",
                source,
                machine,
                [f"flex-attention:density={1 / shards}"],
                stack="ideal",
            )
            spans.append(faster(before, after))
    return over(spans, "pairs left out in whole tiles, the rest at the kernel's rate")


def _steps(bench: Bench, **options: Any) -> Finding:
    spans = []
    for machine in bench.unstated("machine", ("a100-sxm-80gb",)):
        for model in bench.unstated("model", ("gpt3-xl", "llama-2-7b")):
            before = bench.ask(model, machine, **options)
            for shards in bench.unstated("shards", (8, 32)):
                label = f"head-context-sharding:shards={shards}"
                spans.append(bench.speedup(before, bench.ask(model, machine, [label], **options)))
    return over(spans, "a step at 131072 tokens, attention with a shard a head and all else as before")


@derives("efficient-llm-training-and-serving-with-heterogeneous-contex#2")
def training(bench: Bench) -> Finding:
    """A training step."""
    return _steps(bench, phase="train", batch=1, isl=131072, dtype="bf16", stack="megatron", recompute="full")


@derives("efficient-llm-training-and-serving-with-heterogeneous-contex#3")
def serving(bench: Bench) -> Finding:
    """A decode step on a long prompt."""
    return _steps(bench, phase="decode", batch=1, context=131072, stack="vllm")
