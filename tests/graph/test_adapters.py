"""Low-rank adapters: what trains, what is frozen, what it costs."""

from __future__ import annotations

from typing import Any

import pytest

from speedlight._foundation.errors import BadInput
from speedlight.api import explain
from speedlight.engine.answers.prediction import Prediction
from speedlight.frontends.source import load_graph
from speedlight.graph.rewrite import rewrite
from speedlight.graph.stats import parameters

LAYERS, HIDDEN, KV, FFN, RANK = 16, 2048, 512, 8192, 16  # llama-3.2-1b
ADAPTERS = LAYERS * RANK * (2 * (HIDDEN + HIDDEN) + 2 * (HIDDEN + KV) + 3 * (HIDDEN + FFN))


def asked(**options: Any) -> Prediction:
    return explain("llama-3.2-1b", "h100-sxm-80gb", phase="train", batch=4, isl=512, **options)


def test_only_adapters_have_gradients_and_states() -> None:
    p = asked(lora=RANK)
    assert p.memory.by_class["gradients"] == pytest.approx(2 * ADAPTERS)
    assert p.memory.by_class["optimizer"] == pytest.approx(12 * ADAPTERS)
    assert not [row for row in p.ops if row.name.endswith("_proj.wgrad")]
    assert [row for row in p.ops if row.name.endswith("lora_a.wgrad")]


def test_frozen_weights_take_their_forward_and_half_their_backward_pass() -> None:
    """6 FLOPs a parameter and token become 4, and 6 of every adapter's."""
    full, thin = asked(), asked(lora=RANK)
    assert 0.6 < thin.flops / full.flops < 0.72
    assert thin.time < full.time


def test_qlora_keeps_weights_in_four_bits() -> None:
    p = asked(lora=RANK, weights="int4")
    linear = LAYERS * (2 * HIDDEN * HIDDEN + 2 * HIDDEN * KV + 3 * HIDDEN * FFN)
    assert asked(lora=RANK).memory.by_class["weights"] - p.memory.by_class["weights"] == pytest.approx(
        1.5 * linear, rel=0.05
    )


def test_it_is_divided_as_its_layer_is() -> None:
    p, one = (explain("llama-3.2-1b", "dgx-h100", phase="train", batch=4, isl=512, lora=RANK, tp=tp) for tp in (4, 1))
    assert p.flops == pytest.approx(one.flops, rel=0.02)
    assert one.memory.by_class["gradients"] / 4 < p.memory.by_class["gradients"] < one.memory.by_class["gradients"]
    sums = [row for row in p.ops if "all_reduce" in row.name]
    assert sum("lora_add" in row.name for row in sums) == 2  # after the addition, once


def test_twice_is_once_and_names_choose() -> None:
    graph = load_graph("llama-3.2-1b")
    once = rewrite(graph, "lora", {"rank": RANK})
    assert parameters(once) - parameters(graph) == ADAPTERS
    assert rewrite(once, "lora", {"rank": RANK}) is once
    few = rewrite(graph, "lora", {"rank": RANK, "of": "q_proj,v_proj"})
    assert parameters(few) - parameters(graph) == LAYERS * RANK * (2 * HIDDEN + HIDDEN + KV)
    for bad in ({"rank": 0}, {"rank": 2, "of": "nobody"}):
        with pytest.raises(BadInput):
            rewrite(graph, "lora", bad)
