"""A user's own points of a device, layered over what ships: one factor on each term's seconds (DESIGN decision 3).

    t_r'' = t_r' · factor_r          time'' = time' · factor_total          never below the limit

``t_r'`` is a term as the shipped fit bends it or, where none is shipped, as analysed. A factor holds for one device, cost
family and framework: kernels of another library have other faults, so nothing is carried over to them. Its interval is the
points' own, cross-validated.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from functools import lru_cache

from ..._foundation.errors import BadInput
from ...hardware.machine import LocalCalibration
from .model import Bends, Part, Spread
from .samples import TABLES, Family

UNFITTED = (1.0, 3.05)  # the interval of an analytic time: nothing is faster than it, little slower than this


def local_of(calibrations: Sequence[LocalCalibration], family: str, framework: str) -> LocalCalibration | None:
    """The calibration of a cost family's kernels from a library, or None."""
    return next((c for c in calibrations if (c.family, c.framework) == (family, framework)), None)


def localised(part: Part, found: Bends, local: LocalCalibration) -> Bends:
    """What a fit says, corrected by the factors.

    Raises:
        BadInput: if a factor is on a term that the family has not.
    """
    factor = dict(found.factor)
    for term, own in local.factors:
        if term not in (*part.parallel, *part.serial, "total"):
            raise BadInput(
                f"the local calibration of {local.family} has a factor on {term!r}",
                expected="one of " + ", ".join((*part.parallel, *part.serial, "total")),
            )
        factor[term] = factor.get(term, 1.0) * own
    low, high = local.interval
    return dataclasses.replace(found, factor=factor, low=math.log(low), high=math.log(high), depth="local")


def unbent() -> Bends:
    """What :func:`bare` parts say: nothing."""
    return Bends({}, math.log(UNFITTED[0]), math.log(UNFITTED[1]), "", 1.0)


@lru_cache(maxsize=64)
def bare(parallel: tuple[str, ...], serial: tuple[str, ...]) -> Part:
    """The analytic time as a fit without tables: the largest of the parallel terms plus the serial ones."""
    return Part(parallel, serial, math.inf, (), Spread((), {}), frozenset(), frozenset())


@lru_cache(maxsize=64)
def family_of(name: str) -> Family | None:
    """The cost family of that name."""
    families = (target.family for table in TABLES for target in TABLES.get(table).targets)
    return next((family for family in families if family.name == name), None)
