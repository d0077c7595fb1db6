"""Laws: they hold for every model, machine, stack and size."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import speedlight
from speedlight.engine.predict import predict
from tests.strategies import GENERATORS, Question, questions


def answer(question: Question, **changes: Any) -> Any:
    return speedlight.explain(question.model, question.machine, **{**question.options, **changes})


@given(questions())
def test_no_prediction_is_below_its_limit(question: Question) -> None:
    p = answer(question)
    assert 0 < p.limit <= p.time * (1 + 1e-9)
    assert p.low <= p.time <= p.high
    for row in p.ops:
        assert row.limit <= row.time * (1 + 1e-9), row


@given(questions())
def test_parts_sum_to_the_whole(question: Question) -> None:
    p = answer(question)
    assert sum(row.time for row in p.ops) == pytest.approx(p.time, rel=1e-9)
    assert sum(p.memory.by_class.values()) == pytest.approx(p.memory.total, rel=1e-12)
    devices = p.machine["used"]
    assert sum(row.flops for row in p.ops) * devices == pytest.approx(p.flops, rel=1e-9)
    assert sum(row.bytes for row in p.ops) * devices == pytest.approx(p.bytes, rel=1e-9)


@given(questions(), st.sampled_from(["bandwidth", "peaks", "links", "cache"]), st.floats(1.0, 8.0))
def test_a_better_machine_is_never_slower(question: Question, what: str, factor: float) -> None:
    before = answer(question)
    machine = speedlight.machine(question.machine)
    tier = machine.main if what == "bandwidth" else machine.last_cache
    if what in ("bandwidth", "cache") and tier is not None:
        path = f"tiers.{tier.name}.bandwidth"
        after = answer(question, overrides={path: tier.bandwidth * factor})
    else:
        engine = machine.engine
        paths = {f"engines.{engine.name}.peaks.{p.unit}.{p.format}": p.flops * factor for p in engine.peaks}
        if what == "links":
            paths = {f"domains.{d.name}.bandwidth": d.bandwidth * factor for d in machine.domains}
        after = answer(question, overrides=paths)
    assert after.time <= before.time * (1 + 1e-9)
    assert after.limit <= before.limit * (1 + 1e-9)


@given(questions(), st.integers(1, 3))
def test_more_work_is_never_faster(question: Question, more: int) -> None:
    before, after = answer(question), answer(question, batch=question.options["batch"] + more)
    assert after.limit >= before.limit * (1 - 1e-9)
    assert after.flops >= before.flops
    assert after.memory.total >= before.memory.total * (1 - 1e-12)


@given(questions(generators_only=True), st.sampled_from([2, 4, 8]))
def test_sharding_conserves_work(question: Question, tp: int) -> None:
    """FLOPs of all ranks sum to the model's, up to what is copied on each: never less."""
    one = answer(question)
    try:
        many = answer(question, tp=tp)
    except speedlight.SpeedlightError:
        return  # heads that do not divide, too few devices, no link: refused, and tested as bad input
    assert many.flops >= one.flops * (1 - 1e-9)
    weights_one, weights_many = one.memory.by_class["weights"], many.memory.by_class["weights"]
    assert weights_many * tp >= weights_one * (1 - 1e-9)
    assert weights_many <= weights_one


@pytest.mark.parametrize("model", ["llama-3.1-8b", "opt-13b"])
def test_tensor_parallel_conserves_flops_exactly_where_everything_divides(model: str) -> None:
    totals = [speedlight.explain(model, "dgx-h200", phase="decode", batch=4, tp=t).flops for t in (1, 2, 4, 8)]
    np.testing.assert_allclose(totals, totals[0], rtol=1e-12)


@settings(max_examples=25)
@given(
    st.sampled_from(GENERATORS), st.sampled_from(["vllm", "torch-eager", "ideal"]),
    st.lists(st.tuples(st.integers(1, 300), st.integers(0, 9000), st.floats(1e12, 9e12)), min_size=1, max_size=4),
    st.sampled_from(["decode", "prefill", "generate"]),
)  # fmt: skip
def test_a_sweep_equals_a_loop(model: str, stack: str, points: list[tuple[int, int, float]], phase: str) -> None:
    batch, length, bandwidth = (np.array(c, dtype=float) for c in zip(*points, strict=True))
    tier = "tiers.hbm.bandwidth"

    def ask(b: Any, n: Any, w: Any) -> Any:
        return speedlight.explain(
            model, "h200-sxm-141gb", phase=phase, stack=stack, batch=b, isl=n + 1, context=n, overrides={tier: w}
        )

    together = ask(batch, length, bandwidth)
    for i, (b, n, w) in enumerate(points):
        alone = ask(b, n, w)
        for name in ("time", "limit", "low", "high", "flops", "bytes", "mfu", "mbu"):
            whole = np.broadcast_to(getattr(together, name), len(points))[i]
            assert whole == pytest.approx(getattr(alone, name), rel=1e-9), name
        total = np.broadcast_to(together.memory.total, len(points))[i]
        assert total == pytest.approx(alone.memory.total, rel=1e-9)


@pytest.mark.parametrize("model", ["llama-3.1-8b", "qwen3-30b-a3b", "deepseek-v3"])
def test_a_sweep_over_degrees_equals_a_loop(model: str) -> None:
    """tp = 1 sends nothing; beyond the number of KV heads they are copied."""
    degrees = np.array([1, 2, 4, 8, 16, 32])
    kwargs: dict[str, Any] = {"phase": "decode", "batch": 32, "context": 4096}
    question = speedlight.make_scenario(model, "gb200-nvl72", tp=degrees, **kwargs)
    together = predict(question)
    for i, degree in enumerate(degrees):
        alone = speedlight.explain(model, "gb200-nvl72", tp=int(degree), **kwargs)
        assert together.time[i] == pytest.approx(alone.time, rel=1e-9)
        assert together.flops[i] == pytest.approx(alone.flops, rel=1e-9)
        assert together.memory.by_class["kv"][i] == pytest.approx(alone.memory.by_class["kv"], rel=1e-9)
    kinds = [r.kind for r in speedlight.explain(model, "gb200-nvl72", tp=1, **kwargs).ops]
    assert "collective" not in kinds


def test_expert_parallel_divides_experts_and_conserves_work() -> None:
    base = speedlight.explain("qwen3-30b-a3b", "dgx-h200", phase="decode", batch=64, tp=8)
    spread = speedlight.explain("qwen3-30b-a3b", "dgx-h200", phase="decode", batch=64, tp=8, ep=8)
    assert spread.flops == pytest.approx(base.flops, rel=1e-9)
    assert spread.memory.by_class["weights"] == pytest.approx(base.memory.by_class["weights"], rel=1e-9)


@given(questions())
def test_chunks_do_not_change_a_sweep(question: Question) -> None:
    import speedlight.engine.steps.sweep as engine

    scenario = speedlight.make_scenario(
        question.model, question.machine, **{**question.options, "batch": np.array([[1.0], [7.0]]),
                                             "isl": np.array([3.0, 50.0, 900.0])},
    )  # fmt: skip
    whole = predict(scenario)
    keep = engine.CHUNK
    try:
        engine.CHUNK = 2
        pieces = predict(scenario)
    finally:
        engine.CHUNK = keep
    for field in dataclasses.fields(whole):
        a, b = getattr(whole, field.name), getattr(pieces, field.name)
        if isinstance(a, np.ndarray) and a.dtype != object:
            np.testing.assert_allclose(np.broadcast_to(a, np.shape(b)), b, rtol=1e-12)


@given(questions(generators_only=True), st.integers(2, 6))
def test_splitting_a_step_into_groups_changes_no_work(question: Question, parts: int) -> None:
    """A step is the sum over its sequence groups: n equal groups are one group of n."""
    from speedlight.workload.workload import Group

    new, cached = question.options["isl"] % 700 + 1, question.options["context"]
    base = speedlight.make_scenario(question.model, question.machine, phase="prefill", stack=question.options["stack"])
    one = predict(base.with_workload(groups=(Group(parts, new, cached),)))
    many = predict(base.with_workload(groups=tuple(Group(1, new, cached) for _ in range(parts))))
    assert many.flops == pytest.approx(one.flops, rel=1e-9)
    assert many.time == pytest.approx(one.time, rel=1e-9)
