"""What programs hand to each other: bytes over a link, once the source is done and before the target begins.

A transfer occupies its link (a named one of the machine, or one of a rate stated with the edge, like a radio) and counts as often as it
is repeated, times how probable it is. Transfers are rows of the answer, named by who hands on to whom, and take part in its stages.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..._foundation.arrays import Value, where
from ..._foundation.expr import const
from ...costs.cost import Cost, bound_names, bound_of
from ...hardware.machine import Machine
from ...lowering.kernels import Kernel
from ...lowering.ledger import Ledger
from ...scenario.scenario import Edge
from ...schedule.serial import Passage, Timeline
from ...workload.workload import Step
from ..steps.evaluate import PricedKernel, StepResult
from ..training.rows import plain
from .ports import edge_name, link_of


def handed_on(source: str, edges: Sequence[Edge], machine: Machine) -> list[tuple[str, StepResult, Value]]:
    """(name, transfer, weight) of what a program hands on, in the order the edges are listed.

    Args:
        machine: the source's, ports included.
    """
    return [
        (edge_name(edge), _transfer(edge, machine), edge.repeats * edge.probability)
        for edge in edges
        if edge.source == source
    ]


def _transfer(edge: Edge, machine: Machine) -> StepResult:
    link = link_of(edge, machine)
    name = edge_name(edge)
    latency = (link.latency_s + edge.latency_s) * where(edge.bytes > 0, 1.0, 0.0)
    busy: dict[str, Value] = {f"link:{link.name}": edge.bytes / link.bandwidth}
    time = plain(edge.bytes / link.bandwidth + latency)
    kernel = Kernel(
        name="transfer", path="", kind="copy", fn="send_recv", family="stream", members=("transfer",), work=(), accesses=(), dims={},
        count=const(1), workspace=const(0),
    )  # fmt: skip
    cost = Cost(
        busy=busy, least=busy, latency=plain(latency), time=time, limit=plain(edge.bytes / link.bandwidth),
        bound=bound_of(machine, busy, busy, plain(latency)), flops=0.0, dense=0.0, bytes=0.0, high=0.0,
        error_key=("edge", machine.device_id, ""),
    )  # fmt: skip
    return StepResult(
        step=Step(name, (), 0, 0, False), time=time, limit=cost.limit, least=busy, flops=0.0, dense=0.0, bytes=0.0,
        blocks=(("transfer", "forward", (PricedKernel(kernel, cost, 1.0),)),), costs=((cost, 1.0),),
        timeline=Timeline(time, (Passage(1.0, time, 0.0),)), ledger=Ledger({}, 0.0), names=bound_names(machine), place=machine.id,
    )  # fmt: skip
