"""An engine's room in the simulator's blocks: what layers of each sort keep, by hand."""

from __future__ import annotations

import pytest

from speedlight import make_scenario
from speedlight._foundation.errors import BadInput
from speedlight.engine.serving.served_steps import capacity_of, served


def room(model: str, machine: str = "dgx-h200", tp: int = 1, **more: object):  # type: ignore[no-untyped-def]
    engine = served(make_scenario(model, machine, stack="vllm", phase="decode", tp=tp), **more)  # type: ignore[arg-type]
    return engine, capacity_of(engine, block_size=16, max_seqs=64, token_budget=8192)


def test_a_dense_model_keeps_two_heads_of_each_layer() -> None:
    """Llama 3.1 8B: 32 layers × 2 × 8 heads × 128 × 2 bytes = 131,072 bytes a token."""
    engine, capacity = room("llama-3.1-8b", "h100-sxm-80gb")
    assert engine.kv_bytes == 131072
    assert (capacity.full_groups, capacity.window_groups, capacity.fixed_blocks) == (1, 0, 0)
    assert capacity.kv_blocks == int(engine.memory.cache // (131072 * 16))


def test_sliding_layers_have_blocks_of_their_own() -> None:
    """gpt-oss: every other layer looks back 128 tokens; Gemma 3: five of six look back 1024."""
    engine, capacity = room("gpt-oss-120b")
    assert engine.window == pytest.approx(128, abs=2)
    assert (capacity.full_groups, capacity.window_groups) == (1, 1)
    engine, capacity = room("gemma-3-27b")
    assert engine.window == pytest.approx(1024, abs=2)
    assert (capacity.full_groups, capacity.window_groups) == (1, 5)
    assert capacity.blocks_of(100_000) < 1.2 * capacity.blocks_of(100_000 - 5 * 1024)


def test_recurrent_state_is_there_from_the_first_token() -> None:
    engine, capacity = room("qwen3.5-27b")
    assert engine.fixed > 0
    assert capacity.blocks_of(1) == capacity.fixed_blocks + 1
    engine, capacity = room("mamba-2.8b")
    assert capacity.blocks_of(1) == capacity.blocks_of(100_000) == 1


def test_attention_ranks_keep_whole_heads() -> None:
    split, _ = room("qwen3-30b-a3b", tp=4)
    whole, _ = room("qwen3-30b-a3b", attention_dp=4)
    assert whole.kv_bytes == 4 * split.kv_bytes
    assert whole.layout.world == split.layout.world == 4


def test_what_does_not_fit_says_so() -> None:
    with pytest.raises(BadInput, match="no room"):
        room("llama-3.1-70b", "rtx-4090")
    with pytest.raises(BadInput, match="at most 8"):
        room("llama-3.1-8b", tp=8, attention_dp=4)
