"""FlattenQuant: 48 % of the linear layers' work in INT4, the rest in INT8, none in FP16.

Ideally 1 / (0.4829/4 + 0.5171/2) = 2.64 times as fast and as small; attention, norms and quantisation stay as they were.
"""

from __future__ import annotations

from typing import Any

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives


@derives("flattenquant#2")
def speed(bench: Bench) -> Finding:
    """Prompts of compute-bound sizes."""
    bench.given("share", 0.4829, "published", "the abstract")
    spans = []
    for model in bench.unstated("model", ("opt-6.7b", "opt-13b"), "OPT models"):
        for stack in bench.unstated("stack", ("transformers", "vllm")):
            for batch, prompt in bench.unstated(
                "batch and prompt", ((1, 2048), (32, 256)), "large batches and long sequences"
            ):
                common: dict[str, Any] = {"phase": "prefill", "batch": batch, "isl": prompt, "stack": stack}
                machine = bench.given("machine", "a100-sxm-80gb", "assumed", "a GPU with INT4 Tensor Cores")
                before, after = bench.ask(model, machine, **common), bench.ask(model, machine, ["mixed-4-8"], **common)
                spans.append(bench.speedup(before, after))
    return over(
        spans,
        "linear layers at the INT4 and INT8 rates with inputs quantised before them; flattening's few more channels are left out",
    )


@derives("flattenquant#3")
def memory(bench: Bench) -> Finding:
    bench.given("share", 0.4829, "published", "the abstract")
    found = []
    for model in bench.unstated("model", ("opt-6.7b", "opt-13b", "opt-30b"), "OPT models"):
        for batch, prompt in bench.unstated("batch and prompt", ((1, 256), (1, 2048), (16, 256))):
            machine = bench.given("machine", "a100-sxm-80gb", "assumed", "any: bytes alone count")
            common: dict[str, Any] = {"phase": "prefill", "batch": batch, "isl": prompt}
            before, after = bench.ask(model, machine, **common), bench.ask(model, machine, ["mixed-4-8"], **common)
            held = ("weights", "kv", "activations", "workspace")
            found.append(exactly(bench.memory(before, *held).value / bench.memory(after, *held).value))
    return over(found, "weights in 4 and 8 bits; embeddings, keys and values and activations in 16")
