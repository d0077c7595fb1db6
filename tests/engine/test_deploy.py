"""Engines of a scenario: schedulers, adapters, swapping, pools of their own, conversations."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speedlight._foundation.errors import BadInput, UnknownName, Unsupported
from speedlight.engine.predict import predict
from speedlight.engine.questions.question import make_scenario
from speedlight.engine.serving.adapters import adapter_elements, adapter_table
from speedlight.engine.serving.deploy import deployed, scheduler
from speedlight.engine.serving.simulate import Answer, answer, requests_of, saturation
from speedlight.graph.ir import Graph
from speedlight.hardware.catalogue import load_machine
from speedlight.scenario.scenario import Scenario
from speedlight.scenario.serving import Engines, Load, Serving
from speedlight.serving.steps import ZERO, Table


def asked(load: Load, **engines: object) -> Scenario:
    base = make_scenario("llama-3.1-8b", "h100-sxm-80gb", phase="decode")
    return base.replace(serving=Serving(load, Engines(**engines)))  # type: ignore[arg-type]


def run(load: Load, **engines: object) -> Answer:
    return answer(asked(load, **engines))


SMALL = Load(rate=8.0, isl=256, osl=32, requests=40)


def test_stacks_without_a_scheduler_run_batches_to_the_end() -> None:
    assert scheduler(Engines(), "fastertransformer@5.3").static
    assert scheduler(Engines(), "orca@1").id == "orca@1"
    assert scheduler(Engines(), "torch-eager@2.9").name == "vllm"
    assert scheduler(Engines(policy="sglang"), "vllm@0.11").name == "sglang"
    changed = scheduler(Engines(rules={"static": True}), "vllm@0.11")
    assert changed.static
    assert "static True" in changed.source
    with pytest.raises(BadInput, match="no rule 'speed'"):
        scheduler(Engines(rules={"speed": 2}), "vllm")
    with pytest.raises(UnknownName):
        scheduler(Engines(policy="slurm"), "vllm")


def test_a_load_is_no_step_and_a_step_no_load() -> None:
    with pytest.raises(Unsupported, match="no single step"):
        predict(asked(SMALL))
    with pytest.raises(BadInput, match="without a load"):
        answer(make_scenario("llama-3.1-8b", "h100-sxm-80gb", phase="decode"))


def _graph() -> tuple[Graph, dict[str, float]]:
    from speedlight.engine.serving.served_steps import served

    priced = served(make_scenario("llama-3.1-8b", "h100-sxm-80gb", phase="decode"))
    return priced.graph, dict(priced.dims)


def test_an_adapter_of_rank_16_on_every_projection() -> None:
    """32 layers: q and o 4096 × 4096, k and v 4096 × 1024, gate and up 4096 × 14336, down 14336 × 4096; r (n + k) each."""
    graph, dims = _graph()
    each = 2 * 8192 + 2 * 5120 + 3 * 18432
    assert adapter_elements(graph, dims, 16.0) == (32 * 16 * each, 32 * 7)


@lru_cache(maxsize=1)
def _table() -> Table:
    graph, dims = _graph()
    return adapter_table(graph, load_machine("h100-sxm-80gb"), dims, 16, 128)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 4096))
def test_more_adapters_and_tokens_never_take_less(a: int, more: int, tokens: int) -> None:
    table = _table()
    assert table(a + more, tokens) >= table(a, tokens) * (1 - 1e-12)
    assert table(a, tokens + more) >= table(a, tokens) * (1 - 1e-12)


def test_each_distinct_adapter_is_read_once() -> None:
    elements = adapter_elements(*_graph(), 16.0)[0]
    read = (_table()(48, 64) - _table()(16, 64)) * float(load_machine("h100-sxm-80gb").main.bandwidth)
    assert read == pytest.approx(32 * 2 * elements)


def test_no_rank_leaves_adapters_out() -> None:
    graph, dims = _graph()
    assert adapter_table(graph, load_machine("h100-sxm-80gb"), dims, 0, 8) is ZERO
    load = dataclasses.replace(SMALL, adapters=8)
    free, priced = run(load), run(load, adapter_rank=16)
    assert priced.metrics["tpot"]["mean"] > free.metrics["tpot"]["mean"] * 1.02


def test_swapping_waits_for_the_link_once_a_copy() -> None:
    few, many = (
        deployed(asked(SMALL), Engines(rules={"preemption": "swap"}, swap_bytes=8e9, swap_copies=copies))[0].engine
        for copies in (1, 65)
    )
    link = next(k for k in load_machine("h100-sxm-80gb").links if k.role == "host")
    assert many.swap_seconds - few.swap_seconds == pytest.approx(64 * float(link.latency_s))
    assert few.swap_seconds == pytest.approx(131072 * 16 / float(link.bandwidth) + float(link.latency_s))
    assert few.capacity.swap_blocks == int(8e9 // (131072 * 16))


def test_prompt_engines_have_a_machine_of_their_own() -> None:
    same = run(SMALL, prefill_replicas=1)
    other = run(SMALL, prefill_replicas=1, prefill_machine="a100-sxm-80gb")
    assert other.metrics["ttft"]["mean"] > same.metrics["ttft"]["mean"]
    assert other.metrics["tpot"]["mean"] == pytest.approx(same.metrics["tpot"]["mean"], rel=0.2)


def test_a_share_of_the_blocks() -> None:
    whole, half = (deployed(asked(SMALL), Engines(kv_share=s))[0].engine.capacity.kv_blocks for s in (1.0, 0.5))
    assert half == whole // 2


def test_conversations_begin_with_all_that_was_said() -> None:
    load = Load(rate=2.0, turns=3, isl=100, osl=20, requests=30, pause=1.0)
    requests = requests_of(load, 16)
    assert len(requests) == 30
    np.testing.assert_array_equal(np.unique(requests.prompt), [100, 220, 340])
    kept, anew = run(load, policy="vllm@1"), run(load, policy="vllm@0")
    assert kept.run.counters["prompt_tokens_cached"] > 0 == anew.run.counters["prompt_tokens_cached"]
    with pytest.raises(BadInput, match="conversations"):
        requests_of(Load(concurrency=4, turns=2), 16)


def test_drafting_under_a_load() -> None:
    """What is not kept is paid for all the same; what a step adds on average is said, and that drafting itself takes no time."""
    plain = run(SMALL)
    none, most = (run(SMALL, drafted=3, acceptance=a) for a in (0.0, 0.9))
    assert none.metrics["tpot"]["mean"] > plain.metrics["tpot"]["mean"]
    assert most.metrics["tpot"]["mean"] < 0.5 * plain.metrics["tpot"]["mean"]
    said = {a.what: a.value for a in most.assumptions}
    assert said["tokens kept of a verification"] == pytest.approx((1 - 0.9**4) / (1 - 0.9))
    assert said["drafting"] == 0.0
    assert "drafting" not in {a.what for a in plain.assumptions}
    assert saturation(most.deployment, SMALL) > saturation(plain.deployment, SMALL) > saturation(none.deployment, SMALL)
