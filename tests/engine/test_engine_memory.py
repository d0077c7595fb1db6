"""Memory as serving engines divide it: exact on paper, ordered by layout, refused where weights do not fit."""

from __future__ import annotations

import pytest

from speedlight._foundation.errors import BadInput
from speedlight.engine.serving.engine_memory import REPORTED, WORKSPACE, capacity, divided, engine_memory
from speedlight.placement.serving import Layout
from tests.engine.test_step_times import engine


def test_a_cache_on_paper() -> None:
    vllm = divided(80e9, 16e9, 131072.0, "vllm", 0.9, 4e9)
    assert vllm.cache == 0.9 * 80e9 - 20e9
    assert vllm.tokens == vllm.cache / 131072
    assert vllm.sequences(4096) == int(vllm.tokens // 4096)
    assert divided(80e9, 16e9, 131072.0, "tensorrt-llm", 0.9, 4e9).cache == pytest.approx(0.9 * 60e9)


def test_llama_on_one_card_holds_its_published_cache_a_token() -> None:
    memory = engine_memory(engine("llama-3.1-8b", Layout()).resolved, Layout())
    assert memory.token == 2 * 32 * 8 * 128 * 2  # keys and values, layers, heads, width, bytes
    assert memory.cache == pytest.approx(0.9 * 80e9 * REPORTED - memory.weights - WORKSPACE)


def test_more_ranks_hold_more() -> None:
    resolved = engine("llama-3.1-8b", Layout()).resolved
    held = [capacity(resolved, Layout(t, 1, t, 1)).kv_blocks for t in (1, 2, 4, 8)]
    assert held == sorted(held)
    assert held[1] > 2 * held[0]


def test_weights_that_do_not_fit_say_so() -> None:
    with pytest.raises(BadInput, match="leave no room"):
        capacity(engine("llama-3.1-70b", Layout()).resolved, Layout())
    with pytest.raises(BadInput):
        divided(1.0, 0.0, 1.0, "vllm", 1.5)
