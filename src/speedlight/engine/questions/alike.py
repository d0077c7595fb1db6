"""Questions that get equal answers at equal sizes, although they name other versions of a stack."""

from __future__ import annotations

from collections.abc import Hashable

from ...lowering.alike import frozen
from ...scenario.scenario import Scenario
from .resolve import planned, resolve


def likeness(scenario: Scenario) -> Hashable:
    """Questions of one likeness that differ in sizes and the stack's version alone can be asked in one sweep.

    It holds the question's plan: keep it no longer than questions of one model are asked.

    Raises:
        as :func:`.resolve.resolve` does.
    """
    resolved = resolve(scenario)
    stack = resolved.stack
    made, _ = planned(resolved)
    return (
        made, resolved.machine.id, stack.name, stack.host, stack.reserve, stack.device_latency, frozen(stack.attrs),
        scenario.program.workload.phase,
    )  # fmt: skip


__all__ = ["likeness"]
