"""Twenty thousand training layouts are one call."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from speedlight.api import make_scenario
from speedlight.engine.predict import predict

NAMES = ("tp", "pp", "cp", "dp", "micro_batch", "virtual", "sp", "zero", "recompute")


def layouts(devices: int, batch: int, layers: int) -> np.ndarray:
    """All products of these degrees that can be: tp, pp, cp, micro-batch, virtual stages, sequence parallelism, ZeRO stage,
    layers computed again."""
    found = []
    for tp, pp, cp in itertools.product((1, 2, 4, 8), (1, 2, 4, 8, 16, 32), (1, 2)):
        dp = devices // (tp * pp * cp)
        if batch % dp:
            continue
        for micro, virtual, sp, zero, again in itertools.product(
            (1, 2, 4, 8), (1, 2, 3, 4, 6), (0, 1), (0, 1, 2, 3), (0, 1, 2, 4, layers)
        ):
            if (batch // dp) % micro == 0 and layers % (pp * virtual) == 0 and (pp > 1 or virtual == 1):
                found.append((tp, pp, cp, dp, micro, virtual, sp, zero, again))
    return np.array(found, dtype=float)


@pytest.mark.slow
def test_twenty_thousand_layouts_of_175_billion_parameters_on_1024_devices() -> None:
    points = layouts(1024, 1536, 96)
    points = points[np.random.default_rng(1).permutation(len(points))[:20000]]
    axes = dict(zip(NAMES, points.T, strict=True))
    scenario = make_scenario(
        "gpt3-175b", "a100-sxm-80gb", phase="train", batch=1536, isl=2048, schedule="interleaved:2", **axes
    )
    start = time.process_time()
    answer = predict(scenario, details=False)
    seconds = time.process_time() - start
    assert answer.time.shape == (20000,)
    assert np.all(answer.limit <= answer.low)
    assert np.all(answer.low <= answer.time)
    assert np.all(answer.time <= answer.high)
    best = np.argsort(np.where(answer.fits, answer.time, np.inf))[:5]
    assert np.all(answer.mfu[best] > 0.3)
    print(f"{seconds:.1f} s of one core for {points.shape[0]} layouts")
    assert seconds < 10
