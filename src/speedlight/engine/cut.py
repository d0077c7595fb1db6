"""Every cut of a network between machines, priced in one call, and the best of them.

The answer to a cut is the answer to its scenario (:mod:`.programs.cuts`): the parts' times and the transfers' add to the latency of a
call, and the slowest place sets the rate of a stream of calls. All cuts are one sweep of that scenario.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._foundation.arrays import shape_of
from .._foundation.errors import BadInput
from ..scenario.scenario import Scenario
from .answers.prediction import Prediction
from .predict import predict
from .programs.cuts import Cuttable, Hop, cut_at, cuttable

MOST_CUTS = 300_000
MOST_ROWS = 2_000
AIMS = ("latency", "rate")


@dataclass(frozen=True, slots=True)
class Cuts:
    """All cuts of a question's network, or all pairs (triples …) where there are more machines than two.

    Attributes:
        at: per cut the index of its place at each point.
        bytes: that cross each cut.
        time, low, high: seconds of one call.
        period: seconds from one call of a steady stream to the next.
        fits: whether every machine holds its part.
    """

    cuttable: Cuttable
    hops: tuple[Hop, ...]
    back: Hop | None
    at: tuple[np.ndarray, ...]
    bytes: tuple[np.ndarray, ...]
    time: np.ndarray
    low: np.ndarray
    high: np.ndarray
    period: np.ndarray
    fits: np.ndarray

    def __len__(self) -> int:
        return len(self.time)

    @property
    def machines(self) -> tuple[str, ...]:
        """In the order of the work."""
        return self.cuttable.machines

    @property
    def names(self) -> tuple[str, ...]:
        """Where each point cuts: ``behind layer1.2.conv3``."""
        places = self.cuttable.names
        return tuple(", ".join(places[at[i]] for at in self.at) for i in range(len(self)))

    def best(self, aim: str = "latency") -> int:
        """The point that is least in time of a call or has the highest rate, of those that fit; of all where none does.

        Raises:
            BadInput: for another aim.
        """
        if aim not in AIMS:
            raise BadInput(f"the best cut for {aim!r}", expected=" or ".join(AIMS))
        value, other = (self.time, self.period) if aim == "latency" else (self.period, self.time)
        allowed = np.flatnonzero(self.fits) if self.fits.any() else np.arange(len(self))
        return int(allowed[np.lexsort((other[allowed], value[allowed]))[0]])

    def scenario(self, point: int) -> Scenario:
        """The question of one cut, to explain, save and replay."""
        return cut_at(self.cuttable, [int(at[point]) for at in self.at], self.hops, self.back)

    def explain(self, point: int) -> Prediction:
        """The whole answer to one cut."""
        return predict(self.scenario(point))

    def row(self, point: int) -> dict[str, Any]:
        """One cut in CONTRACT's words, SI units."""
        places = self.cuttable.names
        return {
            "cut": [places[at[point]] for at in self.at], "bytes": [float(sent[point]) for sent in self.bytes],
            "time": float(self.time[point]), "low": float(self.low[point]), "high": float(self.high[point]),
            "period": float(self.period[point]), "fits": bool(self.fits[point]),
        }  # fmt: skip

    def to_dict(self, aim: str = "latency") -> dict[str, Any]:
        """The search: how many cuts, the best by each aim, and each cut in the order of the network (of more than
        :data:`MOST_ROWS` those that are best by the aim)."""
        value = self.time if aim == "latency" else self.period
        shown = np.sort(np.argsort(value, kind="stable")[:MOST_ROWS])
        return {
            "machines": list(self.machines), "points": len(self), "aim": aim,
            "best": {name: self.row(self.best(name)) for name in AIMS}, "rows": [self.row(int(i)) for i in shown],
        }  # fmt: skip


def cuts(question: Scenario, before: Sequence[str], hops: Sequence[Hop], back: Hop | None = None) -> Cuts:
    """Price every cut.

    Args:
        question: what runs, on the machine that has the end of it.
        before: machines ahead of that one, in the order of the work.
        hops: the way from each of them to the next.
        back: the way of the results to whoever asked; None where they are wanted on the last machine.

    Raises:
        BadInput: where hops and machines do not match, or there are more cuts than :data:`MOST_CUTS`.
        Unsupported: as :func:`.programs.cuts.cuttable`.
    """
    if shape_of(question):
        raise BadInput("the question holds arrays", expected="one question: its cuts are the sweep")
    if len(hops) != len(before):
        raise BadInput(f"{len(hops)} links between {len(before) + 1} machines", expected="one for each two neighbours")
    found = cuttable(question, before)
    number = len(found.found.places)
    at = _ordered(number, len(before))
    scenario = cut_at(found, at, hops, back)
    answer = predict(scenario, details=False)
    size = at[0].size

    def whole(value: Any) -> np.ndarray:
        return np.broadcast_to(np.asarray(value), (size,)).copy()

    return Cuts(
        found, tuple(hops), back, at, tuple(whole(edge.bytes) for edge in scenario.edges[: len(hops)]),
        whole(answer.time), whole(answer.low), whole(answer.high), whole(answer.period), whole(answer.fits),
    )  # fmt: skip


def _ordered(number: int, cuts: int) -> tuple[np.ndarray, ...]:
    """Every way to set so many cuts, each no earlier than the one before."""
    points: list[np.ndarray] = [np.arange(number)]
    for _ in range(cuts - 1):
        if points[0].size * number > 4 * MOST_CUTS:
            raise BadInput(
                f"{number} places for {cuts} cuts are too many together", expected=f"{MOST_CUTS:,} combinations at most",
                hint="fewer machines",
            )  # fmt: skip
        last = np.tile(np.arange(number), points[0].size)
        points = [*(np.repeat(p, number) for p in points), last]
        kept = points[-1] >= points[-2]
        points = [p[kept] for p in points]
    return tuple(points)


__all__ = ["AIMS", "Cuts", "cuts"]
