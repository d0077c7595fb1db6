"""The closed form against the simulation."""

from __future__ import annotations

import numpy as np
import pytest

from speedlight.serving.arrivals import closed
from speedlight.serving.deployment import Deployment, Pool
from speedlight.serving.metrics import summary
from speedlight.serving.policy import policies, policy
from speedlight.serving.simulate import simulate
from speedlight.serving.steady import closed_loop
from speedlight.serving.steps import Capacity
from tests.serving.fakes import eight_billion

ROOM = Capacity(200_000, 16, 256, 8192)
CASES = [(isl, osl, c) for isl, osl in ((128, 128), (1024, 128), (1024, 1024)) for c in (1, 4, 16, 64)]


def compared(name: str, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Closed form over simulation: (TTFT, TPOT) of each case."""
    ratios = []
    for isl, osl, c in CASES:
        served_by = Deployment(Pool(eight_billion(), policy(name), ROOM))
        found = summary(simulate(closed(c, 5 * c, isl, osl, spread=spread), served_by))
        form = closed_loop(eight_billion(), policy(name), ROOM, c, isl, osl, 5 * c, alike=spread == 0)
        ratios.append((float(form.ttft) / found["ttft"]["mean"], float(form.tpot) / found["tpot"]["mean"]))
    ttft, tpot = np.array(ratios).T
    return ttft, tpot


@pytest.mark.parametrize("name", ["vllm@0", "sglang@0.4"])
def test_prefill_first_with_equal_lengths_is_exact(name: str) -> None:
    ttft, tpot = compared(name, 0.0)
    assert ttft == pytest.approx(1.0, abs=0.03)
    assert tpot == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("name", ["vllm@1", "sglang@0.4"])
def test_lengths_that_vary(name: str) -> None:
    ttft, tpot = compared(name, 0.2)
    assert np.median(abs(ttft - 1)) < 0.10
    assert np.median(abs(tpot - 1)) < 0.05
    assert np.max(abs(ttft - 1)) < 0.35


def test_one_call_for_many_questions() -> None:
    """Law: a sweep equals a loop over scalars."""
    c, isl = np.array([[1.0], [8.0], [300.0]]), np.array([100.0, 5000.0])
    for each in policies():
        many = closed_loop(eight_billion(), each, ROOM, c, isl, 200.0)
        for i in range(3):
            for j in range(2):
                one = closed_loop(eight_billion(), each, ROOM, c[i, 0], isl[j], 200.0)
                for field in ("ttft", "tpot", "e2el", "output_throughput"):
                    assert np.broadcast_to(getattr(many, field), (3, 2))[i, j] == pytest.approx(
                        float(getattr(one, field)), rel=1e-12
                    )


def test_more_clients_never_speed_up_a_client() -> None:
    c = np.arange(1.0, 400.0)
    for each in policies():
        found = closed_loop(eight_billion(), each, ROOM, c, 1000, 200, alike=False)
        assert np.all(np.diff(found.e2el) > -0.02 * found.e2el[1:])
        assert np.all(np.isfinite(found.ttft))
