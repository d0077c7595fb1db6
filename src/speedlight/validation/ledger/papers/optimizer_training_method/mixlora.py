"""m-LoRA: several adapters train over one base, which is held once."""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, exactly, over
from ...registry import derives


@derives("mixlora#1")
def saved(bench: Bench) -> Finding:
    """Bytes of N jobs with the base held once, against N times all of it."""
    spans = []
    for model in bench.unstated("model", ("tinyllama-1.1b", "llama-2-7b")):
        for jobs in bench.unstated("jobs", (2,), "the fewest that share"):
            for length in bench.unstated("isl", (256, 512)):
                step = bench.ask(
                    model, "rtx-4090", ["lora"], phase="train", batch=4, isl=length, dtype="bf16", stack="torch-eager"
                )  # fmt: skip
                base = bench.facts(model)["weight_bytes"]
                whole = bench.memory(step, "weights", "gradients", "optimizer", "activations").value
                spans.append(exactly(100 * (jobs - 1) * base / (jobs * whole)))
    return over(spans, "the base held once instead of by every job, of all that the jobs hold")
