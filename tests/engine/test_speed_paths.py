"""Shortcuts say what the long way does: folded sweeps, the limit alone, quadrature in closed form."""

from __future__ import annotations

import dataclasses
from copy import copy

import numpy as np
import pytest

import speedlight
from speedlight.engine.questions.resolve import planned, resolve
from speedlight.engine.steps import growing
from speedlight.engine.steps.evaluate import evaluate_step, least_of_kernels
from speedlight.engine.steps.folding import LEAST
from speedlight.engine.steps.phase import free_symbols
from speedlight.workload.workload import single_step


def test_a_sweep_over_a_cache_equals_a_loop() -> None:
    """Sizes in units of the cache differ between points of equal sizes, so those are not folded."""
    rng = np.random.default_rng(0)
    batch, cache = rng.integers(1, 9, 2 * LEAST).astype(float), rng.uniform(1e7, 1e8, 2 * LEAST)

    def time(batch: object, cache: object) -> object:
        return speedlight.explain(
            "llama-3.1-8b", "dgx-h100", phase="decode", batch=batch, overrides={"tiers.l2.capacity_bytes": cache}
        ).time

    swept = np.asarray(time(batch, cache))
    for i in (0, 17, 2 * LEAST - 1):
        assert swept[i] == pytest.approx(time(float(batch[i]), float(cache[i])), rel=1e-9)


@pytest.mark.parametrize("model", ["llama-3.1-8b", "deepseek-v3"])
def test_the_limit_alone_is_that_of_priced_kernels(model: str) -> None:
    resolved = resolve(speedlight.make_scenario(model, "dgx-h200", phase="decode", batch=3, tp=8))
    made, dims = planned(resolved)
    workload = resolved.scenario.program.workload
    step, symbols = single_step(workload), free_symbols(resolved.graph, workload)
    where = (made, step, resolved.machine, resolved.scenario.point, resolved.stack, dims, symbols)
    priced = [k for _, _, kernels in evaluate_step(*where).blocks for k in kernels]
    alone = list(least_of_kernels(*where))
    said = {id(kernel): (least, count) for kernel, least, count in alone}
    costs = {id(one.cost) for one in priced}
    assert len(alone) == len(costs) < len(priced)  # kernels that cost the same are priced once
    for cost in costs:
        same = [one for one in priced if id(one.cost) == cost]
        least, count = said[id(same[0].kernel)]
        assert least == same[0].cost.least
        assert count == sum(one.count for one in same)


def test_kernels_of_one_sort_cost_the_same_one_by_one() -> None:
    resolved = resolve(speedlight.make_scenario("deepseek-v3", "dgx-h200", phase="decode", batch=3, tp=8))
    made, dims = planned(resolved)
    workload = resolved.scenario.program.workload
    step, symbols = single_step(workload), free_symbols(resolved.graph, workload)
    where = (step, resolved.machine, resolved.scenario.point, resolved.stack, dims, symbols)
    together = evaluate_step(made, *where)
    program = copy(made.program)
    numbers = iter(range(1000))
    program.sorts = tuple(tuple(next(numbers) for _ in kernels) for kernels in made.program.sorts)
    apart = evaluate_step(dataclasses.replace(made, program=program), *where)
    assert len(apart.costs) > len(together.costs)
    for (_, _, one), (_, _, other) in zip(apart.blocks, together.blocks, strict=True):
        assert [(p.cost.time, p.cost.low, p.cost.limit) for p in one] == [
            (p.cost.time, p.cost.low, p.cost.limit) for p in other
        ]


def test_the_nodes_of_the_integral_are_gauss_and_legendre_s() -> None:
    points, weights = np.polynomial.legendre.leggauss(5)
    np.testing.assert_allclose(growing.POINTS, points, rtol=0, atol=1e-15)
    np.testing.assert_allclose(growing.WEIGHTS, weights, rtol=0, atol=1e-15)
