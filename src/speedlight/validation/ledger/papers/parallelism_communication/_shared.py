"""What derivations of this family share: slower networks, the seconds of one message, spans without error or held below a most."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .....engine.questions.resolve import with_fabric
from .....engine.training.messages import message_of
from .....hardware.machine import OperatingPoint
from .....stacks.stack import load_stack
from ...bench import Bench
from ...finding import Span


def network(bench: Bench, domain: str, bytes_per_s: float) -> dict[str, Any]:
    """Machine figures of a network of another rate, open to perturbation as the machine's own are."""
    return {f"domains.{domain}.bandwidth": bytes_per_s * bench.perturbed.links}


def message(bench: Bench, machine: str, collective: str, size: float, ranks: int) -> Span:
    """Seconds of one collective among neighbouring ranks of a machine, as its library runs it; the bound is its links' least."""
    box, _ = with_fabric(bench.machine(machine), ranks)
    row = message_of(
        "message", collective, ("tp",), size * bench.perturbed.sizes, ((float(ranks), 1.0),), 1.0, machine=box, point=OperatingPoint(),
        stack=load_stack("vllm"), phase="forward",
    )  # fmt: skip
    cost = row.cost
    time, limit = float(cost.time), float(cost.limit)
    return Span(max(time * 2.718281828 ** float(cost.low), limit), time, time * 2.718281828 ** float(cost.high), limit)


def even(value: float, bound: float | None = None) -> Span:
    """A figure without error; its own bound where none is given."""
    return Span(value, value, value, value if bound is None else bound)


def at_most(span: Span, most: float, unit: float = 1.0) -> Span:
    """The span in another unit, held below the most there can be, which is its bound."""
    low, value, high = (min(unit * x, most) for x in (span.low, span.value, span.high))
    return Span(low, value, high, most)


def rate(work: float) -> Callable[[float], float]:
    """Seconds → work a second."""
    return lambda seconds: work / seconds


def mean(spans: list[Span]) -> Span:
    """The mean over settings that the source averages over."""
    n = len(spans)
    bounds = [s.bound for s in spans if s.bound is not None]
    return Span(
        sum(s.low for s in spans) / n, sum(s.value for s in spans) / n, sum(s.high for s in spans) / n,
        sum(bounds) / n if len(bounds) == n else None,
    )  # fmt: skip
