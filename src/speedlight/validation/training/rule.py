"""What a row leaves open follows one rule, the same for every row.

Recomputation: the first of *none*, *selective*, *full* with which the ledger fits the device. Micro-batch: of those of 1, 2, 4
and 8 that divide the replica's batch and fit, the fastest. Where nothing fits, the choice that needs least memory (the row did
run, so it is our ledger that errs). The spread of times over all choices that fit is the row's own uncertainty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._foundation.errors import BadInput, SpeedlightError
from ...engine.predict import predict
from .rows import Row

RECOMPUTE = ("none", "selective", "full")
MICRO_BATCHES = (1, 2, 4, 8)
RULE = (
    "unstated recomputation: first of none, selective, full that fits; unstated micro-batch: fastest of 1, 2, 4, 8 that "
    "divides the replica's batch and fits"
)


@dataclass(frozen=True, slots=True)
class Told:
    """A row's step.

    Attributes:
        seconds, limit: of the choice the rule makes; ``least`` and ``most`` seconds over all choices.
        memory: bytes of the fullest device that the framework's allocator holds, without the context and libraries beside it;
            ``states`` of weights, gradients and optimizer states alone, ``activations`` of those.
        recompute, micro_batch: the choice.
        layer: what it rests on; ``low`` and ``high``: its 80 % interval, around all choices.
    """

    seconds: float
    limit: float
    least: float
    most: float
    memory: float
    states: float
    activations: float
    recompute: str
    micro_batch: float
    layer: str
    low: float
    high: float

    @property
    def spread(self) -> float:
        return self.most / self.least - 1


def micro_batches(row: Row) -> tuple[float, ...]:
    """Candidates: what is stated, else the rule's."""
    share = row.replica_batch
    if row.micro_batch is not None:
        return (min(row.micro_batch, share),)
    found = tuple(float(m) for m in MICRO_BATCHES if share % m == 0 and m <= share)
    if not found:
        raise BadInput(f"a replica's batch of {share:g}", expected="a whole number of micro-batches")
    return found


def told(row: Row) -> Told:
    """The step of a row.

    Raises:
        SpeedlightError: where no choice can be priced.
    """
    kinds = (row.recompute,) if row.recompute is not None else RECOMPUTE
    sizes = micro_batches(row)
    found: list[tuple[str, float, Any]] = []
    failed: SpeedlightError | None = None
    for kind in kinds:
        for size in sizes:
            try:
                found.append((kind, size, predict(row.scenario(kind, size), details=False)))
            except SpeedlightError as error:  # a choice that makes no layout is none
                failed = error
    if not found:
        assert failed is not None
        raise failed
    fitting = [f for f in found if bool(np.all(f[2].fits))]
    if fitting:
        kind = fitting[0][0]
        chosen = min((f for f in fitting if f[0] == kind), key=lambda f: float(f[2].time))
    else:
        chosen = min(found, key=lambda f: float(f[2].memory.total))
    times = [float(f[2].time) for f in found]
    kind, size, said = chosen
    return Told(
        float(said.time), float(said.limit), min(times), max(times),
        float(said.memory.total - said.memory.by_class["reserve"]),
        float(sum(said.memory.by_class[c] for c in ("weights", "gradients", "optimizer"))),
        float(said.memory.by_class["activations"]), kind, size,
        str(said.layer), float(said.low) * min(times) / float(said.time), float(said.high) * max(times) / float(said.time),
    )  # fmt: skip
