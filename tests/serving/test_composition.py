"""A closed loop's composition: every request is served once, by hand-counted steps, whatever the policy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speedlight._foundation.errors import BadInput
from speedlight.serving.composition import Loop, compose

LOOPS = st.builds(
    Loop,
    clients=st.integers(1, 12), prompt=st.integers(1, 300), output=st.integers(1, 40), spread=st.sampled_from([0.0, 0.2]),
    budget=st.integers(16, 512), chunked=st.booleans(), policy=st.sampled_from(["mixed", "prefill_first"]),
    most=st.integers(1, 12), capacity=st.floats(200.0, 5000.0), whole=st.booleans(), rounds=st.integers(1, 4),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(loop=LOOPS)
def test_every_request_is_served_once(loop: Loop) -> None:
    run = compose(loop)
    count = loop.clients * loop.rounds
    assert len(run.arrived) == len(run.first) == len(run.last) == count
    assert np.all(run.arrived < run.first)
    assert np.all(run.first <= run.last)
    assert np.all(run.last <= len(run.steps))
    assert run.finished.sum() == count
    decoded = (run.steps * run.decoding).sum()
    assert decoded == (run.outputs - 1).sum()  # each output token but the first is one decode of one sequence
    assert run.decoding.max(initial=0) <= min(loop.clients, loop.most)


@settings(max_examples=60, deadline=None)
@given(loop=LOOPS)
def test_prompt_tokens_and_attention_are_conserved(loop: Loop) -> None:
    run = compose(loop)
    longest = loop.prompt * loop.clients * loop.rounds
    assert run.prompts.sum() <= longest
    if loop.spread == 0:
        assert run.prompts.sum() == longest
        assert run.squares.sum() == loop.prompt**2 * loop.clients * loop.rounds  # pieces add up to whole prompts


def test_a_lone_client_alternates() -> None:
    run = compose(Loop(1, prompt=10, output=5, rounds=2))
    assert run.steps.tolist() == [1, 4, 1, 4]
    assert run.prompts.tolist() == [10, 0, 10, 0]
    assert run.decoding.tolist() == [0, 1, 0, 1]
    assert run.context.tolist() == [0, 12.5, 0, 12.5]  # 11, 12, 13, 14 tokens cached


def test_mixed_steps_carry_decoding_sequences_and_prompts_first_steps_do_not() -> None:
    mixed = compose(Loop(4, prompt=8, output=6, budget=8, rounds=1))
    apart = compose(Loop(4, prompt=8, output=6, budget=8, rounds=1, policy="prefill_first"))
    assert np.any((mixed.prompts > 0) & (mixed.decoding > 0))
    assert not np.any((apart.prompts > 0) & (apart.decoding > 0))


def test_a_small_cache_makes_clients_wait() -> None:
    free = compose(Loop(8, prompt=100, output=20))
    tight = compose(Loop(8, prompt=100, output=20, capacity=250.0))
    assert tight.decoding.max() == 2
    assert (tight.first - tight.arrived).mean() > (free.first - free.arrived).mean()


@pytest.mark.parametrize("change", [{"clients": 0}, {"budget": 0}, {"policy": "fair"}])
def test_loops_nobody_runs_are_refused(change: dict) -> None:
    with pytest.raises(BadInput):
        compose(Loop(**{"clients": 1, "prompt": 1, "output": 1, **change}))
