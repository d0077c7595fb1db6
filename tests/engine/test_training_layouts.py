"""Training steps on many devices: laws of layouts, memory against the papers' counts, sweeps as their points."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speedlight.api import explain, make_scenario
from speedlight.engine.answers.prediction import Prediction
from speedlight.engine.predict import predict
from speedlight.engine.questions.resolve import planned, resolve
from speedlight.engine.training.residents import of_rank
from speedlight.engine.training.step import _holdings, step_of
from speedlight.lowering.shares import Holdings
from speedlight.placement.stages import Deal, deal
from speedlight.schedule.families import in_flight
from speedlight.stacks.stack import load_stack

MACHINE = "dgx-h100"


def asked(model: str = "llama-3.2-1b", details: bool = False, machine: str = MACHINE, **options: Any) -> Prediction:
    sizes = {"phase": "train", "batch": 16, "isl": 1024, **options}
    return predict(make_scenario(model, machine, **sizes), details=details)


def held(model: str, **options: Any) -> tuple[Holdings, Deal, Any]:
    scenario = make_scenario(model, "h100-sxm-80gb", phase="train", **options)
    resolved = resolve(scenario)
    made, dims = planned(resolved)
    program = scenario.program
    step = step_of(program.workload, program.parallel)
    cut = deal(made.graph, program.parallel, program.workload.training.virtual)
    return _holdings(made, step, dims, {}), cut, program


LAYOUTS: list[dict[str, Any]] = [
    {"dp": 8}, {"dp": 8, "zero": 1}, {"dp": 8, "zero": 3}, {"dp": 8, "zero": 3, "shard": 4}, {"pp": 4, "dp": 2},
    {"pp": 4, "micro_batch": 1, "schedule": "gpipe"}, {"pp": 4, "micro_batch": 1, "schedule": "zero-bubble"},
    {"pp": 2, "micro_batch": 1, "schedule": "interleaved:4", "tp": 4, "sp": 1},
    {"cp": 4, "dp": 2}, {"cp": 2, "context_kind": "ulysses", "tp": 4, "sp": 1}, {"tp": 2, "pp": 2, "dp": 2, "zero": 1},
    {"dp": 2, "recompute": "full"}, {"dp": 2, "recompute": 3},
]  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_rows_sum_to_the_step_and_nothing_beats_the_limit(layout: dict[str, Any]) -> None:
    p = asked(details=True, **layout)
    assert sum(row.time for row in p.ops) == pytest.approx(p.time, rel=1e-9)
    assert p.limit <= p.low <= p.time <= p.high
    assert 0 < p.mfu <= p.hfu < 1
    assert all(row.time >= 0 and row.busy >= row.limit * (1 - 1e-9) for row in p.ops)


def test_flops_are_the_models_whatever_the_layout() -> None:
    whole = asked(machine="h100-sxm-80gb")
    for layout in ({"dp": 8}, {"pp": 4, "dp": 2}, {"tp": 8, "sp": 1}, {"cp": 4, "dp": 2}):
        assert asked(**layout).flops == pytest.approx(whole.flops, rel=1e-3)


def test_one_of_everything_is_one_device() -> None:
    one = asked(machine="h100-sxm-80gb", micro_batch=4)
    same = asked(machine="h100-sxm-80gb", micro_batch=4, zero=3, schedule="gpipe")
    assert same.time == pytest.approx(one.time)
    assert same.memory.by_class["optimizer"] == pytest.approx(one.memory.by_class["optimizer"])
    assert same.memory.by_class["weights"] == pytest.approx(one.memory.by_class["weights"])


def test_bubbles_shrink_as_their_closed_forms_say() -> None:
    """(p − 1)/m of the busy time for equal stages (arXiv 2104.04473 §2.2), by v less with v stages a rank."""
    found = {}
    for name, schedule in (("1f1b", "1f1b"), ("interleaved", "interleaved:2")):
        p = asked("gpt2-xl", details=True, pp=4, batch=32, micro_batch=1, schedule=schedule)
        bubble = sum(row.time for row in p.ops if row.bound == "bubble")
        found[name] = bubble / p.time
    assert found["interleaved"] < 0.7 * found["1f1b"]
    assert 0.4 * 3 / 35 < found["1f1b"] < 1.3 * 3 / 35
    few, many = (asked("gpt2-xl", pp=4, batch=b, micro_batch=1).mfu for b in (8, 64))
    assert few < many


def test_more_sharding_never_holds_more() -> None:
    totals = [asked(dp=8, zero=zero).memory.by_class for zero in range(4)]
    for before, after, cls in zip(totals[:-1], totals[1:], ("optimizer", "gradients", "weights"), strict=True):
        assert after[cls] == pytest.approx(before[cls] / 8)
        assert all(after[c] <= before[c] * (1 + 1e-9) for c in ("weights", "gradients", "optimizer"))


@pytest.mark.parametrize(
    ("options", "each"),
    [
        ({}, (2, 2, 12)),  # arXiv 1910.02054 §3.1: 16 bytes a parameter
        ({"gradients": "fp32"}, (2, 4, 12)),  # Megatron-LM: gradients summed in fp32: 18
        ({"master": "none"}, (2, 2, 8)),
        ({"master": "none", "states": "bf16"}, (2, 2, 4)),
        ({"states": "bf16"}, (2, 2, 8)),
        ({"dtype": "fp32"}, (4, 4, 8)),
        ({"optimizer": "sgd"}, (2, 2, 4)),
        ({"optimizer": "lion"}, (2, 2, 8)),
        ({"optimizer": "sgd_momentum", "dtype": "fp32"}, (4, 4, 4)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("zero", [0, 1, 2, 3])
def test_bytes_a_parameter_by_stage_and_precision(
    options: dict[str, Any], each: tuple[int, int, int], zero: int
) -> None:
    """ZeRO divides optimizer states, then gradients, then weights by the number of ranks (arXiv 1910.02054 Figure 1)."""
    p = asked("tinyllama-1.1b", dp=8, zero=zero, **options)
    n = p.model["params"]
    by = p.memory.by_class
    divided = [by["weights"], by["gradients"], by["optimizer"]]
    expected = [n * b / (8 if zero >= stage else 1) for b, stage in zip(each, (3, 2, 1), strict=True)]
    assert divided == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("zero", "gigabytes"), [(0, 120.0), (1, 31.4), (2, 16.6), (3, 1.9)])
def test_zeros_figure_of_a_model_of_7_billion_over_64_ranks(zero: int, gigabytes: float) -> None:
    """arXiv 1910.02054 Figure 1: Ψ = 7.5B, N = 64."""
    p = asked("llama-7b", machine="h100-sxm-80gb", batch=64, isl=128, dp=64, zero=zero, dtype="bf16")
    states = sum(p.memory.by_class[c] for c in ("weights", "gradients", "optimizer"))
    assert states / p.model["params"] * 7.5 == pytest.approx(gigabytes, abs=0.05)


# What a layer keeps, in units of sequence · batch · hidden bytes: arXiv 2205.05198, equations 1, 2, 4, and §5 and Table 2.
@pytest.mark.parametrize(("tp", "sp"), [(1, 0), (8, 0), (8, 1)])
@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
def test_activations_of_a_layer_are_megatrons_formula(tp: int, sp: int, recompute: str) -> None:
    seq, batch, heads, hidden = 2048, 2, 96, 12288
    holdings, _, _ = held(
        "gpt3-175b", batch=batch, isl=seq, tp=tp, sp=sp, recompute=recompute, stack="megatron@2022.05"
    )
    scores = 5 * heads * seq / hidden if recompute == "none" else 0.0
    kept = {(1, 0): 34 + scores, (8, 0): 10 + (24 + scores) / 8, (8, 1): (34 + scores) / 8}[tp, sp]
    if recompute == "full":
        kept = 2 / (tp if sp else 1)
    assert holdings.blocks["layers"].saved == pytest.approx(seq * batch * hidden * kept, rel=1e-12)


@settings(max_examples=25)
@given(
    st.sampled_from([1, 2, 4, 8]), st.integers(1, 8), st.sampled_from([1, 2]), st.integers(0, 3),
    st.sampled_from(["llama-3.2-1b", "gpt2", "gemma-3-1b", "opt-125m"]),
)  # fmt: skip
def test_sharded_states_of_all_ranks_are_the_whole(dp: int, pp: int, virtual: int, zero: int, model: str) -> None:
    """Conservation: what the ranks of a pipeline and their shards hold adds up to what one device would, tables that two
    stages share twice."""
    virtual = virtual if pp * virtual <= 12 else 1
    sizes: dict[str, Any] = {"batch": dp * 8, "isl": 64, "micro_batch": 1}
    holdings, cut, program = held(model, **sizes, dp=dp, pp=pp, zero=zero, schedule=f"interleaved:{virtual}")
    whole, uncut, alone = held(model, **{**sizes, "batch": 8})
    stack = load_stack("ideal")
    parallel, training = program.parallel, program.workload.training
    ranks = [of_rank(r, cut.rank(r), cut, holdings, parallel, training, 8.0, stack) for r in range(pp)]
    one = of_rank(0, uncut.rank(0), uncut, whole, alone.parallel, alone.workload.training, 8.0, stack)
    again = sum(h.weights[0] * (sum(cut.holds(u, cut.rank(r)) for r in range(pp)) - 1) for u, h in holdings.shared)
    for stage, cls in ((3, "weights"), (2, "gradients"), (1, "optimizer")):
        total = sum(rank[cls] for rank in ranks) * (dp if zero >= stage else 1)
        assert total == pytest.approx(one[cls] * (1 + again / one["weights"]), rel=1e-9)


def test_experts_spread_over_more_ranks_than_the_rest() -> None:
    apart, together = (asked("qwen3-30b-a3b", dp=8, ep=ep, isl=256).memory.by_class for ep in (8, 1))
    experts = 48 * 128 * 3 * 768 * 2048 * 2.0
    assert together["weights"] - apart["weights"] == pytest.approx(experts * 7 / 8)


def test_in_flight_follows_the_schedule() -> None:
    """1F1B holds min(p − stage, m); interleaving 1 + (p − 1)/(p · v) of p (arXiv 2205.05198 §4.2.3)."""
    assert in_flight("1f1b", 8, 64, 1, 0) == 8
    assert in_flight("1f1b", 8, 64, 1, 7) == 1
    assert in_flight("1f1b", 8, 3, 1, 0) == 3
    assert in_flight("interleaved", 8, 64, 3, 0) == pytest.approx(8 * (1 + 7 / (8 * 3)))
    assert in_flight("gpipe", 8, 64, 1, 3) == 64


def points() -> dict[str, np.ndarray]:
    rows = [
        # tp pp cp dp micro virtual sp zero layers again
        (1, 1, 1, 8, 1, 1, 0, 0, 0), (1, 1, 1, 8, 2, 1, 0, 3, 0), (2, 2, 1, 2, 1, 1, 1, 1, 2), (2, 2, 2, 1, 2, 4, 0, 0, 8),
        (8, 1, 1, 1, 4, 1, 1, 0, 1), (1, 4, 1, 2, 1, 2, 0, 2, 0), (4, 1, 2, 1, 1, 1, 1, 0, 16), (1, 8, 1, 1, 1, 1, 0, 1, 0),
    ]  # fmt: skip
    names = ("tp", "pp", "cp", "dp", "micro_batch", "virtual", "sp", "zero", "recompute")
    return dict(zip(names, np.array(rows, dtype=float).T, strict=True))


def test_a_sweep_is_its_points() -> None:
    """DESIGN decision 1: a grouped sweep equals a loop."""
    axes = points()
    p = asked(schedule="interleaved:2", **axes)
    for at in range(8):
        one = asked(schedule="interleaved:2", **{name: int(v[at]) for name, v in axes.items()})
        for name in ("time", "limit", "flops", "bytes", "mfu", "hfu"):
            assert getattr(p, name)[at] == pytest.approx(getattr(one, name), rel=1e-9), (name, at)
        for name in ("low", "high"):  # errors that a sweep's kernels share, those of one point alone may not
            assert getattr(p, name)[at] == pytest.approx(getattr(one, name), rel=0.05), (name, at)
        assert p.memory.total[at] == pytest.approx(one.memory.total, rel=1e-9)
        assert p.bound[at] == one.bound


def test_overlap_is_a_stacks_rule(tmp_path: Any) -> None:
    """The same kernels, with gradients reduced behind the backward pass or after it."""
    times = {}
    for name, said in (("behind", "[gradients]"), ("after", "[]")):
        path = tmp_path / f"{name}.yaml"
        path.write_text(
            f"schema: 1\nname: {name}\nversion: '1'\ndate: '2026-11-26'\nbase: torch-eager@2.9\nattrs: {{overlap: {said}}}\n"
        )
        times[name] = asked(dp=8, stack=str(path), details=True)
    rows = {n: sum(r.time for r in p.ops if "reduce_gradients" in r.name) for n, p in times.items()}
    busy = {n: sum(r.busy for r in p.ops if "reduce_gradients" in r.name) for n, p in times.items()}
    assert busy["behind"] == pytest.approx(busy["after"])
    assert rows["behind"] < 0.5 * rows["after"]
    assert times["after"].time - times["behind"].time == pytest.approx(rows["after"] - rows["behind"])


@pytest.mark.parametrize("phase", ["prefill", "decode", "forward", "generate"])
def test_inference_through_stages(phase: str) -> None:
    sizes = {"phase": phase, "batch": 8, "isl": 256, "osl": 8}
    whole, piped, split = (
        explain("llama-3.2-1b", MACHINE, **sizes, **more) for more in ({}, {"pp": 4}, {"pp": 4, "micro_batch": 2})
    )
    assert whole.time < piped.time < 1.1 * whole.time
    assert sum(row.time for row in split.ops) == pytest.approx(split.time, rel=1e-9)
    if phase in ("prefill", "forward"):
        assert split.time < piped.time
    assert piped.memory.by_class["weights"] < 0.6 * whole.memory.by_class["weights"]
    if phase != "forward":
        assert piped.memory.by_class["kv"] == pytest.approx(whole.memory.by_class["kv"] / 4)
        assert split.memory.by_class["kv"] == pytest.approx(piped.memory.by_class["kv"])
