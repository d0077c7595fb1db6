"""CATS: where the gate's result is small, the neuron's rows of the other two matrices of a feed-forward layer are not read.

At one token reading weights is all there is: half of two thirds of the feed-forward weights, themselves two thirds of all.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives


@derives("cats#3")
def latency(bench: Bench) -> Finding:
    """1 − time after over before, of a decode step."""
    bench.given("sparsity", 0.5, "assumed", "the technique's usual setting; the source's figure is kept apart")
    spans = []
    for model in bench.unstated("model", ("llama-2-7b", "mistral-7b"), "a Llama and a Mistral of 7 B"):
        for stack in bench.unstated("stack", ("transformers-compiled", "vllm"), "code whose host does not slow it"):
            common: dict[str, Any] = {"phase": "decode", "batch": bench.given("batch", 1, "assumed", "tokens of a batch would use different neurons"),
                      "context": 512, "stack": stack}  # fmt: skip
            machine = bench.given("machine", "a100-sxm-80gb", "assumed")
            before, after = (
                bench.ask(model, machine, **common),
                bench.ask(model, machine, ["cats:sparsity=0.5"], **common),
            )
            spans.append(bench.speedup(before, after).mapped(lambda x: (1 - 1 / x) * 100))
    return over(
        spans, "bytes of the rows that are not read; gathering them is taken to cost nothing, the gate runs whole"
    )
