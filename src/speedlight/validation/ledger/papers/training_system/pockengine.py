"""PockEngine: a backward graph pruned to the layers that train, compiled ahead of time.

A share of the layers keeps its weights: their weight gradients are not computed, nor their inputs kept. What compiling saves over
PyTorch's eager calls is a stack's doing.
"""

from __future__ import annotations

from .....engine.answers.prediction import Prediction
from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives


def _step(bench: Bench, techniques: list[str], stack: str, batch: int = 1) -> Prediction:
    bench.stated(model="llama-2-7b", machine="jetson-agx-orin-64gb")
    return bench.ask(
        "llama-2-7b", "jetson-agx-orin-64gb", techniques, phase="train", batch=batch, isl=512, dtype="fp16", stack=stack, optimizer="lion",
        master="none",
    )  # fmt: skip


@derives("pockengine#3")
def rate(bench: Bench) -> Finding:
    """Tokens per second with most layers still."""
    shares = bench.unstated("share of still layers", (0.75, 0.9))
    spans = [bench.rate(_step(bench, [f"frozen-layers:share={s}"], "torch-compile")) for s in shares]
    return over(
        spans,
        "a compiled step with a share of the layers still; gradients stop at the first that trains only if all are above it",
    )


@derives("pockengine#4")
def over_eager(bench: Bench) -> Finding:
    """Eager full training over the compiled, pruned step."""
    shares = bench.unstated("share of still layers", (0.75, 0.9))
    before = _step(bench, [], "torch-eager")
    spans = [bench.speedup(before, _step(bench, [f"frozen-layers:share={s}"], "torch-compile")) for s in shares]
    return over(
        spans,
        "full training by eager PyTorch over the pruned step; the rest is PyTorch's cost on that board, which nobody measured",
    )


@derives("pockengine#2")
def memory(bench: Bench) -> Finding:
    """Gradients, states and kept activations of full training over those of the pruned step."""
    spans = []
    for share in bench.unstated("share of still layers", (0.75, 0.9)):
        full, less = _step(bench, [], "torch-eager"), _step(bench, [f"frozen-layers:share={share}"], "torch-eager")
        kinds = ("gradients", "optimizer", "activations")
        a, b = (bench.memory(p, *kinds).value for p in (full, less))
        spans.append(bench.memory(full, *kinds).mapped(lambda x, b=b: x / b))  # type: ignore[misc]
        assert a >= b
    return over(spans, "what the backward pass and the optimizer keep, before over after")
