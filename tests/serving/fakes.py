"""A made-up machine whose steps cost what a formula says, and hypothesis strategies of loads and deployments."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from speedlight.serving.arrivals import closed, open_loop, with_adapters, with_prefix
from speedlight.serving.deployment import Deployment, Link, Pool, Speculation
from speedlight.serving.policy import policies
from speedlight.serving.requests import Requests
from speedlight.serving.steps import Capacity, HostTimes, StepTables, tabulate

POWERS = np.r_[1, 2.0 ** np.arange(1, 15)]


def eight_billion(host: HostTimes = HostTimes(step=2e-4, sequence=1e-6)) -> StepTables:
    """About an 8B model on a big GPU: weights bound small steps, FLOPs large ones, KV bytes the decoding."""
    tokens = tabulate(lambda t, r: np.maximum(5e-3, t * 2.7e-5) + r * 1e-7, POWERS, [0, 256])
    decode = tabulate(lambda n, c: 2e-4 + n * c * 4.4e-8, POWERS[:10], [0, 256, 1024, 4096, 16384])
    prefill = tabulate(lambda t, k: 1e-4 + t * k * 1.3e-9, POWERS, [0, 256, 1024, 8192])
    adapters = tabulate(lambda a, t: a * 1e-4, [0, 64], [0, 8192])
    return StepTables(tokens, decode, prefill, adapters, host)


def constant(seconds: float) -> StepTables:
    """Every step takes as long."""
    return StepTables(tabulate(lambda x, y: seconds + 0 * x, [0, 1], [0, 1]))


@st.composite
def loads(draw: st.DrawFn, most: int = 60) -> Requests:
    count = draw(st.integers(1, most))
    isl, osl = draw(st.integers(1, 400)), draw(st.integers(1, 60))
    spread, seed = draw(st.sampled_from([0.0, 0.5, 1.0])), draw(st.integers(0, 99))
    if draw(st.booleans()):
        load = closed(
            draw(st.integers(1, 20)), count, isl, osl, spread=spread, think=draw(st.sampled_from([0.0, 0.1])), seed=seed
        )
    else:
        rate = draw(st.sampled_from([1.0, 20.0, 500.0, np.inf]))
        load = open_loop(rate, count, isl, osl, burstiness=draw(st.sampled_from([0.3, 1.0])), spread=spread, seed=seed)
    if draw(st.booleans()):
        load = with_prefix(load, draw(st.integers(0, 300)), draw(st.integers(1, 5)), 16, seed=seed)
    if draw(st.booleans()):
        load = with_adapters(load, draw(st.integers(1, 6)), 1.0, seed=seed)
    return load


@st.composite
def deployments(draw: st.DrawFn) -> Deployment:
    policy = draw(st.sampled_from(policies())).replace(preemption=draw(st.sampled_from(["recompute", "swap"])))
    window = draw(st.sampled_from([0, 40]))
    capacity = Capacity(
        draw(st.integers(45, 400)), draw(st.sampled_from([8, 16])), draw(st.integers(1, 32)), draw(st.integers(64, 600)),
        window_groups=int(window > 0), window=window, fixed_blocks=draw(st.integers(0, 2)),
        swap_blocks=draw(st.sampled_from([0, 100])),
    )  # fmt: skip
    drafted = draw(st.sampled_from([0, 0, 1]))
    pool = Pool(
        eight_billion(), policy, capacity, replicas=draw(st.integers(1, 3)), ranks=draw(st.integers(1, 3)),
        speculation=Speculation(drafted, 0.7 if drafted else 0.0), adapter_slots=draw(st.sampled_from([0, 2])),
        adapter_seconds=0.01, swap_seconds=1e-4,
    )  # fmt: skip
    router = draw(st.sampled_from(["round-robin", "least-loaded"]))
    if draw(st.booleans()):
        link = Link(1e-6, 1e-3, draw(st.booleans()))
        return Deployment(
            pool,
            prefill=pool.replace(replicas=draw(st.integers(1, 2)), speculation=Speculation()),
            link=link,
            router=router,
        )
    return Deployment(pool, router=router)
