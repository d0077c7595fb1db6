"""Half precision and large batches: products on matrix units, a sixteenth of the exchanges."""

from __future__ import annotations

from .....engine.answers.prediction import Prediction
from ...bench import Bench
from ...finding import Finding, over
from ...registry import derives

SENTENCE = 36  # tokens; steps are counted in tokens, and a large translation model stands behind the rate


def _step(bench: Bench, sentences: int, steps: int, dtype: str) -> Prediction:
    return bench.ask(
        "bart-large", "dgx-1-v100", phase="train", batch=8 * sentences * steps, isl=SENTENCE, dp=8, dtype=dtype, micro_batch=sentences
    )  # fmt: skip


@derives("scaling-neural-machine-translation#1")
def eight_cards(bench: Bench) -> Finding:
    """Tokens per second of mixed precision with gradients of many passes added up, over fp32 with one pass a step."""
    bench.given("devices", 8)
    before = _step(bench, 96, 1, "fp32")
    steps = bench.unstated("passes a step", (4, 16))
    spans = [bench.speedup(before, _step(bench, 96, n, "amp"), "throughput") for n in steps]
    return over(spans, "an encoder–decoder of that size on eight V100: matrix units and fewer exchanges together")
