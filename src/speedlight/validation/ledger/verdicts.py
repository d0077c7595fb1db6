"""A claim and what was derived → a verdict (DESIGN, "Verdicts on a published claim")."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...evidence.literature import Claim
from .finding import Finding

VERDICTS = ("reproduced", "bounded", "headroom", "not explained", "contradicted", "not checkable")
LOOSE = 3.0  # a bound of more than so many times the claim says nothing
ROUNDED = 0.02  # figures are printed to two or three digits


@dataclass(frozen=True, slots=True)
class Verdict:
    """One of :data:`VERDICTS` with its cause in words; ``word`` is None where the claim's figure is kept apart."""

    word: str | None
    cause: str


def verdict(claim: Claim, found: Finding) -> Verdict:
    """What the finding says of the claim.

    *reproduced*: the interval meets the claim and everything it rests on is stated. *bounded*: it does over some admissible value
    of what is unstated (or rests on a kernel's published efficiency), and the bound is within three times the claim. *headroom*:
    we predict clearly better. *contradicted*: we predict a change the other way. *not explained*: we predict worse, or the claim
    exceeds the bound. *not checkable*: the admissible range is so wide that it says nothing.
    """
    ends = claim.ends
    if ends is None:
        return Verdict(None, "the figure is kept apart")
    if not all(map(math.isfinite, (found.low, found.high))):
        return Verdict("not checkable", "the engine gives no figure")
    if claim.form == "order":
        return _order(found)
    low, high = (_down(found.low), _up(found.high)) if claim.form != "law" else (found.low - 0.05, found.high + 0.05)
    meets = {
        "value": low <= ends[1] and high >= ends[0],
        "law": low <= ends[1] and high >= ends[0],
        "at_least": high >= ends[0],
        "at_most": low <= ends[1],
        "up_to": high >= ends[1] if claim.better != "less" else low <= ends[0],
    }[claim.form]
    if meets:
        return _met(claim, found, ends, _clear(claim, found, ends))
    if _opposite(claim, found, ends):
        return Verdict("contradicted", "we predict a change the other way")
    better = found.low > ends[1] if claim.better == "more" else found.high < ends[0]
    if claim.better != "none" and better and claim.form in ("value", "law"):
        return Verdict("headroom", "under this setting the engine predicts clearly better than was achieved")
    if found.bound is not None and claim.better == "more" and ends[0] > found.bound * (1 + ROUNDED):
        return Verdict("not explained", f"the claim exceeds what physics allows here, {found.bound:.3g}")
    return Verdict("not explained", f"the engine derives {found.low:.3g} to {found.high:.3g}")


def _clear(claim: Claim, found: Finding, ends: tuple[float, float]) -> bool:
    """One-sided forms are met cheaply by a prediction far beyond the claim: that is headroom."""
    if claim.form in ("at_least", "up_to") and claim.better != "less":
        return found.low > LOOSE * ends[1] > 0
    if claim.form == "at_most" or (claim.form == "up_to" and claim.better == "less"):
        return 0 < found.high * LOOSE < ends[0]
    return False


def _met(claim: Claim, found: Finding, ends: tuple[float, float], far: bool) -> Verdict:
    if far:
        return Verdict("headroom", "the engine predicts far more than is claimed")
    width = f"admissible range {found.low:.3g} to {found.high:.3g}"
    if found.stated and not found.capped:
        return Verdict("reproduced", width)
    wide = (
        claim.better == "more"
        and found.bound is not None
        and _factor(claim, found.bound) > LOOSE * _factor(claim, ends[1]) > 0
    )
    if wide or (found.low > 0 and found.high / found.low > LOOSE**2):
        return Verdict("not checkable", f"too much is unstated to tell: {width}, bound {found.bound}")
    return Verdict("bounded", width)


def _factor(claim: Claim, value: float) -> float:
    """The figure as a factor: 40 % more is 1.4 times, 40 % of the time less is 1.67 times."""
    if not ("pct" in claim.metric or "%" in claim.metric):
        return value
    if any(word in claim.metric for word in ("reduc", "sav", "less", "cut")):
        return 100 / (100 - value) if value < 100 else math.inf
    return 1 + value / 100


def _order(found: Finding) -> Verdict:
    """The finding is a ratio: above 1 where the claim's order holds."""
    if found.low > 1:
        return Verdict(
            "reproduced" if found.stated and not found.capped else "bounded",
            f"ratio {found.low:.3g} to {found.high:.3g}",
        )
    if found.high < 1:
        return Verdict("contradicted", f"ratio {found.low:.3g} to {found.high:.3g}")
    return Verdict("not explained", f"the sign is open: ratio {found.low:.3g} to {found.high:.3g}")


def _opposite(claim: Claim, found: Finding, ends: tuple[float, float]) -> bool:
    """A gain is claimed and a loss is derived: of factors below 1, of percents below 0."""
    if claim.better == "none" or claim.form == "law":
        return False
    if claim.metric.rstrip(" )").endswith(("_x", "(x")) or " (x)" in claim.metric:
        return ends[0] > 1 and found.high < 1
    if "pct" in claim.metric or "(%" in claim.metric:
        return ends[0] > 0 and found.high < 0
    return False


def _down(value: float) -> float:
    return value - ROUNDED * abs(value)


def _up(value: float) -> float:
    return value + ROUNDED * abs(value)
