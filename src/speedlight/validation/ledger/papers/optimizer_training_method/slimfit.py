"""SlimFit: frozen layers keep no activations for their weights; what must stay is quantised."""

from __future__ import annotations

from collections.abc import Iterator

from .....engine.answers.prediction import Prediction
from ...bench import Bench
from ...finding import Finding, Span, exactly, over
from ...registry import derives

CARD = 32e9


def _steps(bench: Bench, model: str, techniques: list[str]) -> Iterator[Prediction]:
    lengths = (None,) if model.startswith("vit") else tuple(bench.unstated("isl", (320, 384)))
    for length in lengths:
        size = {} if length is None else {"isl": length}
        yield bench.ask(model, "v100-sxm2-32gb", techniques, phase="train", batch=128, dtype="fp32", **size)


def _cards(bench: Bench, model: str) -> Finding:
    """Cards that split the batch evenly until a share of it fits."""
    bench.given("batch", 128)
    bench.given("memory", "32 GB")
    spans = []
    for step in _steps(bench, model, ["frozen-layers:share=0.9"]):
        fixed = bench.memory(step, "weights", "gradients", "optimizer", "reserve").value
        moving = bench.memory(step, "activations").value
        needed = next(n for n in range(1, 65) if fixed + moving / n <= CARD * bench.perturbed.capacity)
        spans.append(exactly(float(needed)))
    return over(spans, "32 GB cards that hold a step with nine of ten layers still", more=False)


@derives("slimfit#6")
def vit(bench: Bench) -> Finding:
    return _cards(bench, "vit_large_patch16_224")


@derives("slimfit#7")
def bert(bench: Bench) -> Finding:
    return _cards(bench, "bert-base")


def _saved(bench: Bench, share: float) -> Finding:
    bench.given("batch", 128)
    spans = []
    for model in bench.unstated("model", ("bert-base", "vit_base_patch16_224")):
        for before, after in zip(
            _steps(bench, model, []), _steps(bench, model, [f"frozen-layers:share={share}"]), strict=True
        ):
            kept = bench.memory(after, "activations").value
            fixed = bench.memory(after).value - kept
            ratios = [bench.memory(before).value / (fixed + kept * s) for s in (1.0, 0.25)]
            spans.append(Span(ratios[0], ratios[1], ratios[1], ratios[1]))
    return over(spans, "a step with most layers still; what stays of the activations in fp32, or quantised to 8 bits")


@derives("slimfit#2")
def saved(bench: Bench) -> Finding:
    """Memory of full fine-tuning over that with nine of ten layers still."""
    return _saved(bench, 0.9)


@derives("slimfit#4")
def most_saved(bench: Bench) -> Finding:
    """The same with as many layers still as the abstract states, 95 %."""
    bench.given("frozen layers", 0.95)
    return _saved(bench, 0.95)
