"""Techniques of tokens, shapes and diffusion: what each takes away, and where it says no."""

from __future__ import annotations

import numpy as np
import pytest

from speedlight.engine.questions.asked import DENOISER
from speedlight.engine.questions.question import make_scenario
from speedlight.scenario.scenario import Scenario
from speedlight.techniques.compose import Refused, applied, ask, parsed


def with_(scenario: Scenario, *labels: str) -> Scenario:
    return scenario.replace(techniques=tuple(parsed(label) for label in labels))


PICTURES = {"phase": "prefill", "batch": 4, "isl": 64}
IMAGE = {"phase": "generate", "batch": 1, "steps": 20}


def test_a_budget_of_picture_tokens_shortens_the_prompt_alone() -> None:
    asked = make_scenario("llava-1.5-7b", "h100-sxm-80gb", **PICTURES)
    assert asked.program.workload.isl == 64 + 576
    thin = applied(with_(asked, "visual-token-budget:keep=0.25"))
    assert thin.program.workload.isl == 64 + 144
    one = applied(with_(asked, "vision-token-fusion:layers=0"))
    assert one.program.workload.isl == 65
    fused = ask(with_(asked, "vision-token-fusion"), details=False)
    assert (
        ask(with_(asked, "vision-token-fusion:layers=0"), details=False).flops
        < fused.flops
        < ask(asked, details=False).flops
    )


def test_a_prompt_counts_as_a_prompt() -> None:
    from speedlight.engine.predict import predict
    from speedlight.techniques.gains import gain

    asked = make_scenario("llava-1.5-7b", "h100-sxm-80gb", **PICTURES)
    before, after = (
        predict(applied(with_(asked, *t)), details=False, joint=True) for t in ((), ("visual-token-budget",))
    )
    assert gain(before, after).speedup == pytest.approx(gain(before, after).latency)


def test_sweeps_agree_with_single_questions() -> None:
    """Batches and contexts as arrays give what each gives alone."""
    batches, contexts = np.array([1.0, 8.0, 64.0]), np.array([512.0, 4096.0, 16384.0])
    for label in (
        "mixture-of-depths",
        "early-exit",
        "router-tuning",
        "layer-skipping",
        "block-transformer",
        "product-key-memory",
        "switchhead",
        "inattention",
    ):
        swept = ask(
            with_(
                make_scenario("llama-3.1-8b", "h100-sxm-80gb", phase="decode", batch=batches, context=contexts), label
            ),
            details=False,
        )
        for i in range(3):
            one = with_(
                make_scenario("llama-3.1-8b", "h100-sxm-80gb", phase="decode", batch=batches[i], context=contexts[i]),
                label,
            )
            assert float(np.ravel(swept.time)[i]) == pytest.approx(float(ask(one, details=False).time), rel=1e-9), label


def test_steps_are_counted_not_scaled() -> None:
    asked = make_scenario("flux.1-dev", "h100-sxm-80gb", **IMAGE)
    few = applied(with_(asked, "fewer-steps:steps=4"))
    assert [p.repeats for p in few.programs if p.name == DENOISER] == [pytest.approx(4)]
    assert applied(with_(asked, "fewer-steps:steps=50")).program.repeats == pytest.approx(20)
    cached = applied(with_(asked, "feature-caching:every=4"))
    full, part = (p for p in cached.programs if p.name.startswith(DENOISER))
    assert (full.repeats, part.repeats) == (pytest.approx(5), pytest.approx(15))
    before, after = ask(asked, details=False), ask(with_(asked, "feature-caching:every=4"), details=False)
    assert float(after.memory.by_class["weights"]) == pytest.approx(
        float(before.memory.by_class["weights"])
    )  # one model's, once
    assert after.time > before.time * (5 + 15 * 0.25) / 20 * 0.8


def test_guidance_is_a_second_pass() -> None:
    asked = make_scenario("wan2.1-t2v-1.3b", "h100-sxm-80gb", phase="generate", batch=1, steps=10)
    before, after = ask(asked, details=False), ask(with_(asked, "guidance-distillation"), details=False)
    assert 1.7 < float(before.flops / after.flops) <= 2.001
    with pytest.raises(Refused, match="once already"):
        applied(with_(make_scenario("flux.1-dev", "h100-sxm-80gb", **IMAGE), "guidance-distillation"))


@pytest.mark.parametrize(("model", "options", "label", "says"), [
    ("llama-3.1-8b", {"phase": "decode"}, "visual-token-budget", "sees no pictures"),
    ("resnet50", {"phase": "forward"}, "token-merging", "no repeated layers"),
    ("resnet50", {"phase": "forward"}, "inception-depthwise", "no depthwise convolution"),
    ("llama-3.1-8b", {"phase": "decode"}, "ladder-residual", "no partial sums travel"),
    ("flux.1-dev", {"phase": "forward"}, "fewer-steps", "not a pipeline"),
    ("flux.1-dev", {"phase": "generate", "steps": 4}, "latent-token-merging", "no U-Net"),
    ("llama-3.1-8b", {"phase": "decode"}, "aligned-vocabulary", "fills whole tiles"),
    ("mobileone_s0", {"phase": "train", "batch": 8}, "reparameterized", "inference"),
])  # fmt: skip
def test_refusals_say_why(model: str, options: dict[str, object], label: str, says: str) -> None:
    with pytest.raises(Refused, match=says):
        applied(with_(make_scenario(model, "h100-sxm-80gb", **options), label))  # type: ignore[arg-type]


def test_two_ways_of_dropping_tokens_exclude_each_other() -> None:
    asked = make_scenario("llama-3.1-8b", "h100-sxm-80gb", phase="decode", batch=8, context=4096)
    with pytest.raises(Refused, match="both change tokens"):
        applied(with_(asked, "early-exit", "mixture-of-depths"))
