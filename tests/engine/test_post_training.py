"""A post-training iteration: its parts are the verbs' own answers, and add up as the module says."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import pytest

import speedlight
from speedlight._foundation.errors import BadInput
from speedlight.engine.post_training.loop import LoopAnswer, iteration
from speedlight.engine.post_training.question import loop_of, words_of
from speedlight.engine.predict import predict

TRAIN = {"batch": 32, "dp": 8, "zero": 3, "micro_batch": 2, "recompute": "full"}
WORDS = {"prompts": 16, "samples": 4, "isl": 256, "osl": 64, "spread": 0.5, "replicas": 2, "stack": "vllm"}


@lru_cache(maxsize=16)
def found(judge: str = "", **more: object) -> LoopAnswer:
    words = {**WORDS, **more}
    return iteration(
        loop_of("llama-3.1-8b", "dgx-h100", train=TRAIN, judges={"reference": ""} if judge else {}, **words)
    )  # type: ignore[arg-type]


def test_parts_are_what_the_verbs_say() -> None:
    one = found("reference", keep_states=True)
    requests = one.served.run.requests
    assert len(requests) == 64
    assert one.served.metrics["finished"] == 64
    assert one.parts["rollout"] == one.served.run.reached
    length = round(float((requests.prompt + requests.output).mean()))
    step, judge = (
        predict(speedlight.make_scenario("llama-3.1-8b", "dgx-h100", isl=length, **options), details=False)
        for options in ({"phase": "train", **TRAIN}, {"phase": "forward", "batch": 8})
    )
    assert one.parts["training"] == pytest.approx(2 * float(step.time))
    assert one.passes["reference"] == pytest.approx(float(judge.time)), "64 samples: eight replicas of eight"
    assert one.time == pytest.approx(sum(one.parts.values()))


def test_split_adds_up_or_overlaps() -> None:
    together, behind = found(split=True), found(split=True, lag=1)
    assert together.parts == behind.parts
    assert together.time == pytest.approx(sum(together.parts.values()))
    slower = max(behind.parts["rollout"], behind.parts["passes"] + behind.parts["training"])
    assert behind.time == pytest.approx(slower + behind.parts["sync"])
    assert together.time / 2 <= behind.time < together.time, "two sides at most halve an iteration"
    assert together.devices == {"rollout": 2, "trainer": 8, "all": 10}
    assert found().devices["all"] == 8
    assert max(behind.busy.values()) == pytest.approx(1.0)


@pytest.mark.slow
def test_samples_of_a_prompt_begin_alike() -> None:
    """Of 64 samples 16 prompts are new; the others find theirs, but for those computed at the same time."""
    assert found().served.run.counters["prompt_tokens_cached"] > 0
    assert found(prompts=64, samples=1).served.run.counters["prompt_tokens_cached"] == 0


@pytest.mark.slow
def test_states_that_stay_take_room_and_those_that_go_take_time() -> None:
    kept, moved = found(keep_states=True), found()
    assert kept.parts["swap"] == 0.0 < moved.parts["swap"]
    assert kept.served.facts["kv"]["tokens"] < moved.served.facts["kv"]["tokens"]
    bytes_kept = next(a.value for a in moved.assumptions if a.what == "what the trainer keeps")
    room = (moved.served.facts["kv"]["tokens"] - kept.served.facts["kv"]["tokens"]) * 131072
    assert room == pytest.approx(bytes_kept, rel=1e-3)


@pytest.mark.slow
def test_weights_travel_by_bytes_over_bandwidth() -> None:
    """16.06 GB onto each engine of one device at 10 GB/s, and 64 messages of a millisecond."""
    slow = found(split=True, sync_link=10e9)
    assert slow.parts["sync"] == pytest.approx(slow.served.facts["memory"]["weights"] / 10e9 + 0.064)
    twice = found(split=True, sync_link=20e9)
    assert slow.parts["sync"] - 0.064 == pytest.approx(2 * (twice.parts["sync"] - 0.064))


@pytest.mark.slow
def test_more_engines_shorten_the_rollout_and_leave_the_rest() -> None:
    two, four = found(split=True), found(split=True, replicas=4)
    assert four.parts["rollout"] < two.parts["rollout"]
    assert four.parts["training"] == two.parts["training"]


@pytest.mark.slow
def test_epochs_are_updates() -> None:
    one, two = found(), found(epochs=2.0)
    assert (one.updates, two.updates) == (2, 4)
    assert two.parts["training"] == pytest.approx(2 * one.parts["training"])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"lag": 1}, "a lag of 1"),
        ({"prompts": 0}, "0 prompts"),
        ({"rate": 3.0}, "a rate"),
        ({"replicas": 16}, "16 devices"),
        ({"turns": 3}, "turns"),
    ],
)
def test_what_is_no_loop_is_refused(changes: dict[str, object], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        found.__wrapped__(**changes)


def test_a_trainer_that_does_not_fit_says_so() -> None:
    with pytest.raises(BadInput, match="the trainer needs"):
        iteration(loop_of("llama-3.1-70b", "dgx-h100", train={"batch": 8, "tp": 2}, tp=2, prompts=4))
    with pytest.raises(BadInput, match="without a batch"):
        loop_of("llama-3.1-8b", "dgx-h100", train={"dp": 8}, prompts=4)
    with pytest.raises(BadInput, match="train: isl"):
        loop_of("llama-3.1-8b", "dgx-h100", train={"batch": 8, "isl": 4}, prompts=4)


def test_words() -> None:
    assert words_of("batch=512,micro-batch=2,recompute=full") == {"batch": 512, "micro_batch": 2, "recompute": "full"}
    with pytest.raises(BadInput, match="name=value"):
        words_of("batch")


def test_plain_data_and_text() -> None:
    import json

    from speedlight.report.post_training import render_loop

    one = found("reference", keep_states=True)
    data = json.loads(json.dumps(one.to_dict()))
    assert data["time"] == one.time
    assert set(data["parts"]) == {"rollout", "passes", "training", "sync", "swap"}
    assert "weight sync" in render_loop(one)
    assert dataclasses.replace(one).samples_per_second == 64 / one.time
