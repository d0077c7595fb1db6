"""Experts that are not chosen equally often: the busiest rank sets the pace, tokens are conserved or dropped and said so."""

from __future__ import annotations

import json
import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import speedlight
from speedlight._foundation.errors import BadInput
from speedlight.cli.main import main
from speedlight.engine.predict import _answer, predict
from speedlight.engine.questions.resolve import resolve
from speedlight.engine.steps.expert_ranks import classes_of
from speedlight.graph.expert_spread import Spread, power_draws, ranks, spread_of

ASKED = {"phase": "prefill", "isl": 1024, "batch": 8, "tp": 8, "ep": 8}

spreads = st.one_of(
    st.just(Spread()), st.just(Spread("uniform")), st.floats(0.0, 3.0).map(lambda a: Spread("power", round(a, 3)))
)


@cache
def asked(load: str, details: bool = False, **changes: object) -> speedlight.Prediction:
    """The answer, kept; sensitivities and rows of ops with ``details`` only."""
    return predict(
        speedlight.make_scenario("qwen3-30b-a3b", "dgx-h100", moe_load=load, **(ASKED | changes)), details=details
    )


@settings(max_examples=60, deadline=None)
@given(spreads, st.integers(1, 20_000), st.sampled_from([(8, 2), (128, 8), (256, 8)]), st.sampled_from([1, 2, 4, 8]))
def test_tokens_are_conserved_and_balanced_is_the_least(
    spread: Spread, tokens: int, sizes: tuple[int, int], group: int
) -> None:
    experts, picks = sizes
    there = ranks(spread, float(tokens), float(picks), experts, group)
    assert len(there.rows) == group
    assert there.rows.sum() == pytest.approx(group, rel=1e-6)
    assert np.all(np.diff(there.rows) <= 1e-12)
    assert there.rows[0] >= 1 - 1e-6
    assert there.dropped == 0
    assert 0 < there.distinct <= experts // group
    classes = classes_of(there)
    assert sum(c.ranks for c in classes) == group
    assert sum(c.ranks * c.rows for c in classes) == pytest.approx(group, rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(spreads, st.integers(64, 20_000), st.floats(0.5, 4.0))
def test_a_capacity_drops_what_is_over_and_no_more(spread: Spread, tokens: int, capacity: float) -> None:
    free = ranks(spread, float(tokens), 8.0, 128, 8)
    held = ranks(Spread(spread.kind, spread.exponent, capacity), float(tokens), 8.0, 128, 8)
    assert held.rows.sum() + 8 * held.dropped == pytest.approx(8, rel=1e-3)
    assert held.rows[0] <= min(capacity, free.rows[0]) + 1e-9
    assert np.all(held.busiest <= capacity + 1e-9)


def test_more_skew_takes_longer_and_no_more_work() -> None:
    times = [asked(load) for load in ("balanced", "uniform", "power:0.3", "power:0.6", "power:1.2")]
    assert np.all(np.diff([a.time for a in times]) > 0)
    assert np.all(np.diff([a.limit for a in times]) >= 0)
    assert [a.flops for a in times] == pytest.approx([times[0].flops] * 5, rel=1e-9)
    for a in times:
        assert a.limit <= a.low <= a.time <= a.high
    whole = asked("power:0.6", details=True)
    assert whole.time == times[3].time
    assert sum(row.time for row in whole.ops) == pytest.approx(whole.time, rel=1e-9)


def test_one_rank_has_the_mean_and_fewer_experts_are_touched_by_skewed_picks() -> None:
    alone = {"tp": 1, "ep": 1, "batch": 1, "isl": 1024}
    assert asked("power:1.2", **alone).flops == pytest.approx(asked("balanced", **alone).flops, rel=1e-9)
    one = {"phase": "decode", "context": 1024, "batch": 8, "tp": 1, "ep": 1}
    assert asked("power:2", **one).bytes < asked("balanced", **one).bytes


def test_the_interval_holds_the_spread_of_the_load() -> None:
    answer = asked("power:1.2")
    kernels_alone = _answer(resolve(answer.scenario), False)
    assert answer.time == pytest.approx(kernels_alone.time, rel=1e-12)
    assert answer.high > kernels_alone.high
    assert answer.low <= kernels_alone.low


def test_dropped_tokens_are_neither_computed_nor_waited_for() -> None:
    free, dropping = asked("power:0.6"), asked("power:0.6,capacity:1", details=True)
    assert dropping.time < free.time
    assert dropping.flops < free.flops
    assert dropping.attrs["experts"]["dropped"] > 0.1
    note = next(a for a in dropping.assumptions if a.what == "expert load")
    assert "dropped" in note.source
    assert asked("balanced,capacity:1").time == pytest.approx(asked("balanced").time, rel=1e-9)


def test_a_sweep_equals_its_points() -> None:
    sizes = np.array([1, 4, 16])
    swept = asked.__wrapped__("power:0.8", phase="decode", context=512, batch=sizes, dp=8, tp=1)
    for i, batch in enumerate(sizes):
        one = asked("power:0.8", phase="decode", context=512, batch=int(batch), dp=8, tp=1)
        assert (swept.time[i], swept.low[i], swept.high[i]) == pytest.approx((one.time, one.low, one.high), rel=1e-9)


def test_a_training_step_waits_for_its_busiest_experts() -> None:
    options = {"phase": "train", "isl": 2048, "batch": 32, "dp": 8, "tp": 1, "ep": 8, "zero": 1, "recompute": "full"}
    flat, skewed = asked("balanced", **options), asked("power:0.6", **options)
    assert skewed.time > flat.time
    assert skewed.flops == pytest.approx(flat.flops, rel=1e-9)
    assert skewed.mfu < flat.mfu


def test_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert spread_of("power:1.2,capacity:1.25") == Spread("power", 1.2, 1.25)
    assert spread_of("uniform") == Spread("uniform", 0.0, math.inf)
    for words in ("skewed", "power", "power:x", "balanced:1", "power:1,slots:2", "power:99", "uniform,capacity:0"):
        with pytest.raises(BadInput):
            spread_of(words)
    words = ["explain", "qwen3-30b-a3b", "--on", "dgx-h100", "--tp", "8", "--ep", "8", "--phase", "decode"]
    assert main([*words, "--moe-load", "power:1.2", "--json", "-"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert sum(c["ranks"] for c in answer["experts"]["classes"]) == 8
    assert main([*words, "--moe-load", "skewed"]) == 2
    assert "power:a" in capsys.readouterr().err
    assert main(["explain", "llama-3.1-8b", "--on", "h100-sxm-80gb", "--moe-load", "power:1"]) == 2
    assert "no experts" in capsys.readouterr().err


def test_rows_of_a_power_law_are_whole_and_few_lie_evenly():
    for tokens in (1.0, 2.0, 4.0, 64.0, 1000.0):
        drawn = power_draws(tokens, 8.0, 256, 1.2)
        assert np.array_equal(drawn, np.floor(drawn))
        assert np.all(drawn.sum(1) == tokens * 8.0)
        assert drawn.min() >= 0.0
    for ep in (4, 8, 64):
        busiest = power_draws(2.0, 8.0, 256, 1.01).reshape(-1, ep, 256 // ep).sum(2).max(1)
        assert np.all(busiest == np.ceil(16.0 / ep))
    skewed = power_draws(32.0, 8.0, 256, 1.01).reshape(-1, 8, 32).sum(2).max(1)
    assert skewed.mean() > 1.2 * 32.0
    # Experts that memory-bound times on an H200 imply: 48 and 64 (studies/2026-11-moe.md).
    for tokens, distinct in ((8.0, 48.0), (16.0, 64.0)):
        assert (power_draws(tokens, 8.0, 128, 1.01) > 0).sum(1).mean() == pytest.approx(distinct, rel=0.04)


def test_tiles_that_no_file_names_are_said_and_stepped_over() -> None:
    def step(machine: str, batch: int, stack: str = "sglang"):
        return speedlight.explain("qwen3-30b-a3b", machine, stack=stack, phase="decode", context=512, batch=batch)

    def said(answer) -> list[str]:
        return [str(a.value) for a in answer.assumptions if a.what == "experts' tiles"]

    for machine, few, many in (("a100-sxm-80gb", 128, 160), ("h200-sxm-141gb", 128, 160), ("l40s", 128, 160)):
        assert (step(machine, many).time > 1.15 * step(machine, few).time) == bool(said(step(machine, many)))
    assert said(step("a100-sxm-80gb", 1)) == ["no file for 128 experts of 768: 16 rows up to 128 tokens, 64 beyond"]
    assert not said(step("a100-sxm-80gb", 160, "vllm"))


def test_gpt_oss_keeps_four_bits_in_every_stack_on_hopper() -> None:
    """SGLang's measured kernel took weights made 16-bit when loaded: 2.8 times the time, and 230 GB of the 120B model."""
    sglang, vllm = (
        speedlight.explain("gpt-oss-120b", "h100-sxm-80gb", stack=stack, phase="decode", context=1024, batch=64).time
        for stack in ("sglang", "vllm")
    )
    assert sglang == pytest.approx(vllm, rel=0.2)


def test_a_width_that_triton_cannot_load_at_once_is_said() -> None:
    """Gemma 4's experts are 704 wide: 176 on each of four GPUs, 88 on each of eight."""

    def said(tp: int, stack: str) -> list[str]:
        answer = speedlight.explain(
            "gemma-4-26b-a4b", "h100-sxm-80gb", stack=stack, phase="decode", context=512, batch=64, tp=tp
        )
        return [str(a.value) for a in answer.assumptions if a.what == "experts' width"]

    assert said(8, "vllm") == ["88 on a rank, no multiple of 16: Triton loads element by element"]
    assert not said(4, "vllm")
    assert not said(8, "tensorrt-llm")


@pytest.mark.parametrize(
    ("model", "machine", "stack"), [("gpt-oss-20b", "h100-sxm-80gb", "sglang"), ("gpt-oss-120b", "b200", "vllm")]
)
def test_a_batch_that_fills_tiles_takes_no_longer_than_more(model: str, machine: str, stack: str) -> None:
    """Rows that just fill their tiles (8 or 16 an expert) need no second one."""
    batches = (48, 64, 96, 128, 160, 192, 256, 320)
    times = np.asarray([
        speedlight.explain(model, machine, stack=stack, phase="decode", context=256, batch=b).time for b in batches
    ])  # fmt: skip
    assert np.max(np.maximum.accumulate(times) / times) < 1.05
