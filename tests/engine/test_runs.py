"""Laws and published cases of runs: checkpoints, failures, goodput."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedlight._foundation.errors import BadInput
from speedlight.api import make_scenario
from speedlight.cli.main import main
from speedlight.engine.predict import predict
from speedlight.engine.training.runs import DAY, HOUR, Domain, Run, devices, interval, run, run_of, waiting, wall_time
from speedlight.scenario.scenario import Scenario

MINUTE = 60.0
seconds = st.floats(1.0, 1e5)


@pytest.mark.parametrize(("between_min", "best_min"), [(24 * 60, 117), (6 * 60, 57), (15, 9.1)])
def test_the_best_interval_is_dalys(between_min: float, best_min: float) -> None:
    """Captions of figures 3 to 5 of Daly's paper: dumps of 5 minutes."""
    found = float(interval(5 * MINUTE, between_min * MINUTE)) / MINUTE
    assert found == pytest.approx(best_min, rel=0.01)


@given(dump=st.floats(1.0, 600.0), between=st.floats(1e4, 1e7))
def test_no_other_interval_is_much_better(dump: float, between: float) -> None:
    best = float(interval(dump, between))
    wall = wall_time(1e6, best, dump, between, 60.0)
    for factor in (0.5, 0.8, 1.25, 2.0):
        assert wall <= wall_time(1e6, best * factor, dump, between, 60.0) * (1 + 1e-3)


@given(step=st.floats(0.1, 60), mtbf=st.floats(1e3, 1e6), dump=st.floats(0, 1e13), stop=st.floats(0, 3600))
def test_shares_of_the_wall_time_sum_to_one(step: float, mtbf: float, dump: float, stop: float) -> None:
    domain = Domain("device", mtbf * HOUR, 64, stop / 2, stop / 2)
    answer = run(Run(1e12, step, 4e6, 64, checkpoint_bytes=dump, store_bytes_per_s=1e11, domains=(domain,)))
    assert answer.goodput + sum(answer.lost.values()) == pytest.approx(1, abs=1e-9)
    assert 0 < answer.goodput <= 1
    assert all(v >= 0 for v in answer.lost.values())
    assert answer.wall_s >= answer.solve_s


@given(mtbf=st.floats(1e3, 1e6), factor=st.floats(1.1, 10))
def test_machines_that_fail_less_finish_sooner(mtbf: float, factor: float) -> None:
    def wall(hours: float) -> float:
        return run(
            Run(1e12, 5.0, 4e6, 256, checkpoint_bytes=1e12, store_bytes_per_s=1e11, domains=(devices(256, hours),))
        ).wall_s

    assert wall(mtbf * factor) <= wall(mtbf) * (1 + 1e-6)


def test_a_machine_that_never_fails() -> None:
    answer = run(Run(300e9, 10.0, 3e6, 1024, usd_per_hour=2.0))
    assert answer.wall_s == answer.solve_s == 1e6
    assert (answer.goodput, answer.failures, answer.between_s) == (1, 0, math.inf)
    assert answer.device_hours == pytest.approx(1e6 * 1024 / 3600)
    assert answer.usd == pytest.approx(2 * answer.device_hours)


def test_the_published_run_keeps_its_goodput() -> None:
    """Llama 3 405B: a failure every three hours on 16,384 devices, above 90 % effective training time."""
    question = Run(
        15.6e12, 40.0, 16e6, 16384, checkpoint_bytes=405e9 * 14, store_bytes_per_s=2e12, domains=(devices(16384),)
    )
    answer = run(question)
    assert answer.between_s / HOUR == pytest.approx(54 * 24 / 419, rel=1e-9)
    assert 0.85 < answer.goodput < 0.97
    assert answer.failures == pytest.approx(answer.wall_s / answer.between_s)


def test_a_sweep_equals_its_points() -> None:
    hours = np.array([1e4, 5e4, 2e5])
    whole = run(Run(1e12, 5.0, 4e6, 256, checkpoint_bytes=1e12, store_bytes_per_s=1e11, domains=(devices(256, hours),)))
    for i, value in enumerate(hours):
        one = run(
            Run(
                1e12,
                5.0,
                4e6,
                256,
                checkpoint_bytes=1e12,
                store_bytes_per_s=1e11,
                domains=(devices(256, float(value)),),
            )
        )
        assert whole.wall_s[i] == pytest.approx(one.wall_s, rel=1e-12)


def test_going_on_without_a_node_beats_waiting_for_it() -> None:
    node = {
        "between_s": 30 * DAY,
        "units": 64,
        "detect_s": 60.0,
        "restart_s": HOUR,
        "rebalance_s": 60.0,
        "repair_s": 4 * HOUR,
    }
    base = {
        "tokens": 1e12,
        "step_s": 5.0,
        "step_tokens": 4e6,
        "devices": 512,
        "checkpoint_bytes": 1e11,
        "store_bytes_per_s": 1e11,
    }
    waits = run(Run(**base, domains=(Domain("node", **node),)))  # type: ignore[arg-type]
    goes_on = run(Run(**base, domains=(Domain("node", **node, spare=1.0),)))  # type: ignore[arg-type]
    assert goes_on.wall_s < waits.wall_s
    assert goes_on.lost["missing"] > 0 == waits.lost["missing"]


def test_preemptible_nodes_pay_off_only_while_the_market_is_kind() -> None:
    base = {
        "tokens": 1e12,
        "step_s": 5.0,
        "step_tokens": 4e6,
        "devices": 64,
        "usd_per_hour": 2.0,
        "checkpoint_bytes": 1e12,
        "store_bytes_per_s": 1e10,
    }
    owned = run(Run(**base))  # type: ignore[arg-type]
    calm, wild = (
        run(Run(**base, price_factor=0.4, domains=(Domain("market", hours * HOUR, 8, 30.0, 900.0),)))  # type: ignore[arg-type]
        for hours in (200.0, 3.0)
    )
    assert calm.usd < owned.usd < wild.usd  # type: ignore[operator]


def test_backup_workers() -> None:
    everyone, whole = waiting(64, 0.1)
    some, share = waiting(64, 0.1, 60)
    assert everyone > some > 1
    assert (whole, share) == (1, 60 / 64)
    assert waiting(1, 0.3) == (1.0, 1.0)
    assert waiting(64, 0.0)[0] == 1.0


@pytest.mark.parametrize(
    "change",
    [
        {"tokens": 0}, {"step_s": -1.0}, {"step_tokens": float("nan")}, {"store_bytes_per_s": 0.0}, {"every_s": 0.0},
        {"domains": (Domain("device", 0.0, 8),)}, {"domains": (Domain("device", 1e9, 8, spare=2.0),)},
        {"domains": (Domain("device", 1e9, 8, detect_s=-1.0),)}, {"domains": (Domain("device", 1.0, 8),)},
        {"domains": (Domain("node", 100.0, 1, spare=1.0, repair_s=1e4),)},
    ],
)  # fmt: skip
def test_nonsense_is_refused(change: dict[str, object]) -> None:
    base: dict[str, object] = {"tokens": 1e9, "step_s": 1.0, "step_tokens": 1e6, "devices": 8}
    with pytest.raises(BadInput):
        run(Run(**{**base, **change}))  # type: ignore[arg-type]


@pytest.mark.parametrize(("n", "spread", "k"), [(0, 0.1, None), (8, 0.1, 9), (8, 0.1, 0), (8, -0.1, None)])
def test_impossible_waits_are_refused(n: int, spread: float, k: int | None) -> None:
    with pytest.raises(BadInput):
        waiting(n, spread, k)


def step(**changes: object) -> Scenario:
    options = {"phase": "train", "batch": 8, "isl": 2048, "dp": 8, "zero": 1, "stack": "megatron", **changes}
    return make_scenario("llama-3.2-1b", "dgx-h100", **options)


def test_a_predicted_step_becomes_a_run() -> None:
    answer = predict(step(), details=False)
    question = run_of(answer, 1e12)
    assert question.step_tokens == pytest.approx(8 * 2048)
    assert question.checkpoint_bytes == pytest.approx(
        answer.model["params"] * 14, rel=0.01
    )  # bf16 weights, fp32 master and states
    assert run(question).steps == math.ceil(1e12 / (8 * 2048))
    assert run(run_of(answer, 1e12, device_hours=0)).failures == 0
    faster = run_of(answer, 1e12, store="1 TB/s")
    assert faster.store_bytes_per_s == 1e12


def test_what_is_no_training_step_is_no_run() -> None:
    with pytest.raises(BadInput, match="training steps"):
        run_of(predict(make_scenario("llama-3.2-1b", "h100-sxm-80gb", phase="decode"), details=False), 1e12)


def test_shares_of_a_step_sum_to_one() -> None:
    shares = predict(step(tp=2, dp=4)).attrs["shares"]
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["compute"] > 0.3
    assert shares["communication"] > 0


def test_the_command_line_prints_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["explain", "llama-3.2-1b", "--on", "h100-sxm-80gb", "--phase", "train", "--batch", "2", "--isl", "1024"]
    assert main([*asked, "--tokens", "1e9", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["run"]["steps"] == math.ceil(1e9 / 2048)
    assert main([*asked, "--restart", "5"]) == 2
    assert "--tokens" in capsys.readouterr().err
