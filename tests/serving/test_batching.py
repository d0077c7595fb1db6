"""Dynamic batching: limits with a formula, and what a delay does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedlight._foundation.errors import BadInput
from speedlight.serving.arrivals import open_loop
from speedlight.serving.batching import BatchServer, best_delay, serve_batches, tabulated

COST = tabulated(lambda b: 2e-3 + 1e-3 * b, 16)


def test_by_hand() -> None:
    """Batch of two after the delay of 3 s; the third waits for the worker, not for the delay."""
    run = serve_batches(np.array([0.0, 2.0, 4.0]), BatchServer(np.array([10.0, 12.0, 13.0, 14.0]), delay=3.0))
    assert run.started.tolist() == [3.0, 3.0, 15.0]
    assert run.finished.tolist() == [15.0, 15.0, 25.0]
    assert run.size.tolist() == [2, 2, 1]


def test_batches_of_one_are_an_md1_queue() -> None:
    rate = 0.7 / COST[0]
    run = serve_batches(open_loop(rate, 20_000, 1, 1, seed=4).arrival, BatchServer(COST[:1]))
    assert (run.started - run.arrival).mean() == pytest.approx(0.7 / (2 * 0.3) * COST[0], rel=0.1)


@given(
    st.integers(1, 300),
    st.sampled_from([5.0, 200.0, 5000.0]),
    st.floats(0.0, 0.05),
    st.integers(1, 3),
    st.integers(0, 9),
)
def test_laws(count: int, rate: float, delay: float, workers: int, seed: int) -> None:
    run = serve_batches(open_loop(rate, count, 1, 1, seed=seed).arrival, BatchServer(COST, delay, workers))
    assert np.all(run.started >= run.arrival)
    assert run.finished - run.started == pytest.approx(COST[run.size - 1])
    batches = (1.0 / run.size).sum()
    assert batches == pytest.approx(round(batches)), "every request is in one batch"
    assert run.summary()["utilisation"] <= workers + 1e-9


def test_preferred_sizes_and_a_delay_worth_waiting_for() -> None:
    arrival = open_loop(400.0, 4000, 1, 1, seed=1).arrival
    run = serve_batches(arrival, BatchServer(COST, 0.01, preferred=(4, 8)))
    assert set(run.size) <= {1, 2, 3, 4, 8}
    none = serve_batches(arrival, BatchServer(COST))
    long = serve_batches(arrival, BatchServer(COST, 0.05))
    assert long.summary()["mean_batch"] > none.summary()["mean_batch"]
    delay, latency = best_delay(arrival, BatchServer(COST))
    assert latency <= none.summary()["latency"]["p95"]
    assert delay < 0.05


def test_bad_input() -> None:
    for make in (lambda: BatchServer(np.array([])), lambda: BatchServer(COST, -1.0), lambda: BatchServer(COST, preferred=(99,)),
                 lambda: serve_batches(np.array([2.0, 1.0]), BatchServer(COST))):  # fmt: skip
        with pytest.raises(BadInput):
            make()
