"""FlexGen: weights and cache in 4 bits in the host's memory, a block of batches sharing each transfer.

At 144 sequences a step of OPT-175B brings 87 GB of weights and as many of keys and values; the prompt's products take a T4 as long as
all of the answer's transfers.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives


@derives("flexgen#1")
def throughput(bench: Bench) -> Finding:
    """Its repository's table: T4, prompts of 512 tokens, answers of 32."""
    bench.stated(model="opt-175b", batch=144, weights="int4", kv="int4")
    source = (
        "benchmark/batch_size_table.md of its repository: a T4 (16 GB), input 512, output 32, everything in CPU memory"
    )
    for what, value in {"machine": "t4", "isl": 512, "osl": 32, "stack": "flexgen", "offload": "host"}.items():
        bench.given(what, value, "published", source)
    answer = bench.ask(
        "opt-175b", "t4", ["pipelined-offload"], phase="generate", batch=144, isl=512, osl=32, weights="int4", kv="int4",
        stack="flexgen", offload=("weights:host", "kv:host"),
    )  # fmt: skip
    return over(
        [bench.rate(answer)],
        "a prefill and 31 steps with all transfers beside the computing. What is left: FlexGen widens 4-bit weights and caches in kernels of "
        "their own, and a T4 at 70 W does not hold the clock its peak is stated at",
    )
