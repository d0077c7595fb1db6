"""What recorded operators cost on a machine: the least and the expected seconds of each, from the same costs as any answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...costs.cost import bound_names, largest
from ...frontends.recorded import Recorded, graph_of
from ...hardware.machine import Machine, OperatingPoint
from ...placement.place import place
from ...scenario.scenario import Parallel
from ...stacks.stack import Stack
from ...workload.workload import Workload, single_step
from ..questions.resolve import plan
from ..steps.evaluate import evaluate_step
from ..steps.phase import free_symbols


@dataclass(frozen=True, slots=True)
class Priced:
    """Seconds of all calls of a recorded operator.

    Attributes:
        limit: speed of light.
        time: expected of the stack's kernels.
        bound: what binds the expected time.
        layer: ``limit``, ``analytic`` or ``calibrated``.
    """

    limit: float
    time: float
    bound: str
    layer: str


def price_recorded(
    recorded: Sequence[Recorded], machine: Machine, stack: Stack, point: OperatingPoint | None = None
) -> dict[int, Priced]:
    """The operators that can be told, by their number.

    Args:
        recorded: operators; see :mod:`...frontends.recorded`.
    """
    graph, told = graph_of(recorded)
    if not told:
        return {}
    made = plan(graph, stack, None)
    workload = Workload()
    dims = place(graph, Parallel())[0].dims
    result = evaluate_step(
        made, single_step(workload), machine, point or OperatingPoint(), stack, dims, free_symbols(graph, workload)
    )
    names = bound_names(machine)
    found: dict[int, Priced] = {}
    for _, _, kernels in result.blocks:
        for priced in kernels:
            number = int(priced.kernel.name.removeprefix("op").partition(".")[0])
            cost, count = priced.cost, float(priced.count)
            least = float(largest(cost.least)) * count
            time = max(float(cost.time) * count, least)
            before = found.get(number, Priced(0.0, 0.0, "", ""))
            found[number] = Priced(before.limit + least, before.time + time, names[int(cost.bound)], cost.layer)
    return found
