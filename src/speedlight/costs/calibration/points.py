"""A few measured points → one factor for each term: dense Gauss–Newton, NumPy alone.

    min Σ ρ(log measured − log time(c)) / noise² + Σ (c / prior)²          factors are exp(c)

with priors around "as predicted", so that what the points do not show stays as it was; ρ grows linearly beyond three times
the noise, so that one freak point does not bend the rest. The noise, which decides how much the points are believed, is the
one of a few values under which a left-out point is predicted best.

Every error quoted is of points the factors did not see. Factors on terms must beat one factor on the whole time, and that
must beat no factor at all, by more than chance would give: five points cannot make things much worse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from .model import Fit, bent
from .predict import looks
from .samples import Family, Samples

PRIOR, PRIOR_TOTAL = 0.3, 0.5  # standard deviations of log factors before anything is measured
NOISE = (0.05, 0.1, 0.2, 0.4)  # standard deviations of log time to choose from
LEAST = 3  # distinct points
ENOUGH = 8  # distinct points from which terms get factors of their own
ALONE = 20  # distinct points up to which each is left out alone
FOLDS = 10
BEYOND = 1.96  # standard errors by which factors must be better than none (as of a normal; more where points are few)
BETTER = 1.0  # by which factors on terms must be better than one on the whole
WORTH = 0.1  # share of the mean error that must go: less is not worth a calibration
REPEATS = 0.02  # mean log error that must go at least: the same kernel, measured on another day, differs by as much
ITERATIONS = 30
TINY = 1e-30
NARROW = 5e-3  # the least log half-width of an interval: measurements repeat no better
MANY = 50  # points from which the interval's ends are quantiles instead of a normal's
MODELS = ("total", "terms")  # from the simplest on


@dataclass(frozen=True)
class Points:
    """Measured rows of one family and framework.

    Attributes:
        names: the terms.
        parallel: which of them run side by side.
        terms: seconds of each row's terms, bent by what ships.
        power: of the p-norm of each row's parallel terms; infinite where nothing is fitted: the largest.
        limit, measured: seconds.
    """

    names: tuple[str, ...]
    parallel: np.ndarray
    terms: np.ndarray
    power: np.ndarray
    limit: np.ndarray
    measured: np.ndarray

    def take(self, rows: np.ndarray) -> Points:
        return Points(
            self.names, self.parallel, self.terms[rows], self.power[rows], self.limit[rows], self.measured[rows]
        )

    @property
    def free(self) -> tuple[str, ...]:
        """What can get a factor."""
        return (*self.names, "total")


@dataclass(frozen=True)
class Found:
    """What points say.

    Attributes:
        model: ``terms``, ``total`` or ``none``: nothing is gained.
        factors: by term; those that stay 1 are left out.
        before: log(measured / predicted) of each point by what ships.
        after: the same by factors that did not see the point.
        interval: factors to the ends of the 80 % interval.
        folds: parts the points were left out in.
        grouped: whether a part holds several distinct points.
    """

    model: str
    factors: dict[str, float]
    before: np.ndarray
    after: np.ndarray
    interval: tuple[float, float]
    folds: int
    grouped: bool


def points_of(family: Family, samples: Samples, fit: Fit | None, measured: np.ndarray) -> tuple[Points, np.ndarray]:
    """Usable rows as points, and their numbers; a machine's own earlier calibration is not looked at."""
    names = (*family.parallel, *family.serial)
    terms, power = np.zeros((samples.rows, len(names))), np.full(samples.rows, np.nan)
    for look in looks(family, samples, fit):
        said = bent(look.part, look.found, look.terms, samples.limit[look.rows])
        power[look.rows] = look.part.power
        for name, seconds in said.busy.items():
            terms[look.rows, names.index(name)] = seconds
    usable = np.isfinite(terms).all(1) & (terms > 0).any(1) & ~np.isnan(power)
    rows = np.flatnonzero(usable & np.isfinite(samples.limit) & np.isfinite(measured) & (measured > 0))
    parallel = np.array([name in family.parallel for name in names])
    return Points(names, parallel, terms[rows], power[rows], samples.limit[rows], measured[rows]), rows


def distinct(points: Points) -> np.ndarray:
    """A code for each point; repeated measurements of one thing share it and are left out together."""
    return np.asarray(np.unique(np.round(np.log(np.maximum(points.terms, TINY)), 9), axis=0, return_inverse=True)[1])


def calibrated(points: Points, quick: bool = False) -> Found:
    """The factors, and the errors of points they did not see.

    Args:
        quick: left-out errors from the leverage of each point in one fit, not from refits without it.
    """
    before = np.log(points.measured) - forward(points, np.zeros(len(points.free)))[0]
    unit = distinct(points)
    model, after = "none", before
    for candidate in MODELS if int(unit.max()) + 1 >= ENOUGH else MODELS[:1]:
        error = left_out(points, candidate, unit, quick)
        if better(after, error, unit, BEYOND if model == "none" else BETTER):
            model, after = candidate, error
    factors: dict[str, float] = {}
    if model != "none":
        found = np.exp(fitted(points, model)[0])
        factors = {name: float(f) for name, f in zip(points.free, found, strict=True) if abs(f - 1) >= 1e-3}
    count = int(folds(unit).max()) + 1
    return Found(model, factors, before, after, interval(after), count, count < int(unit.max()) + 1)


def forward(points: Points, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log time of each point under log factors, and its derivative by each of them: the share of the time."""
    bent_terms = np.log(np.maximum(points.terms, TINY)) + c[:-1]
    shares = np.zeros((len(points.terms), c.size))
    whole = np.exp(bent_terms[:, ~points.parallel]).sum(1)
    joint, inner = -np.inf, np.zeros((len(points.terms), 0))
    if points.parallel.any():
        own = bent_terms[:, points.parallel]
        top = own.max(1, keepdims=True)
        sharp = np.isinf(points.power)[:, None]
        power = np.where(sharp, 1.0, points.power[:, None])
        weight = np.where(sharp, own == top, np.exp(power * (own - top)))
        total = weight.sum(1, keepdims=True)
        joint, inner = (top + np.where(sharp, 0.0, np.log(total) / power))[:, 0], weight / total
        whole = whole + np.exp(joint)
    log_time = np.log(whole)
    shares[:, :-1][:, ~points.parallel] = np.exp(bent_terms[:, ~points.parallel] - log_time[:, None])
    shares[:, :-1][:, points.parallel] = inner * np.exp(joint - log_time)[:, None] if inner.size else inner
    shares[:, -1] = 1.0
    log_time = log_time + c[-1]
    floor = np.log(np.maximum(points.limit, TINY))
    shares[log_time < floor] = 0.0
    return np.maximum(log_time, floor), shares


def fitted(points: Points, model: str) -> tuple[np.ndarray, np.ndarray]:
    """Log factors under the noise that predicts left-out points best, and those points' residuals (by leverage)."""
    found = [solve(points, model, noise) for noise in NOISE]
    scores = [float(np.mean(np.abs(left))) for _, left in found]
    return found[int(np.argmin(scores))]


def solve(points: Points, model: str, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Damped Gauss–Newton under one noise."""
    size = len(points.free)
    prior = np.full(size, (noise / PRIOR) ** 2)
    prior[-1] = (noise / PRIOR_TOTAL) ** 2
    free = np.arange(size) if model == "terms" else np.array([size - 1])
    target = np.log(points.measured)
    edge = 3.0 * noise

    def cost(c: np.ndarray) -> float:
        left = (target - forward(points, c)[0]) / edge
        return float(2.0 * edge**2 * (np.sqrt(1.0 + left**2) - 1.0).sum() + (prior * c**2).sum())

    c = np.zeros(size)
    least = cost(c)
    for _ in range(ITERATIONS):
        normal, slope, _ = linearised(points, c, target, prior, free, edge)
        step = np.zeros(size)
        step[free] = np.clip(np.linalg.solve(normal, slope), -1.0, 1.0)
        for _ in range(8):
            tried = cost(c + step)
            if tried <= least:
                break
            step = step / 2.0
        else:
            break
        c, gained, least = c + step, least - tried, tried
        if gained <= 1e-10 * (1e-12 + least):
            break
    normal, _, (share, weight, left) = linearised(points, c, target, prior, free, edge)
    leverage = weight * np.einsum("ij,ji->i", share, np.linalg.solve(normal, share.T))
    return c, left / np.maximum(1.0 - leverage, 0.05)


def linearised(
    points: Points, c: np.ndarray, target: np.ndarray, prior: np.ndarray, free: np.ndarray, edge: float
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Normal matrix and right-hand side of one step, with the shares, weights and residuals they come from."""
    log_time, shares = forward(points, c)
    left = target - log_time
    weight = 1.0 / np.sqrt(1.0 + (left / edge) ** 2)
    share = shares[:, free]
    normal = (share * weight[:, None]).T @ share + np.diag(prior[free])
    return normal, share.T @ (weight * left) - prior[free] * c[free], (share, weight, left)


def left_out(points: Points, model: str, unit: np.ndarray, quick: bool) -> np.ndarray:
    """log(measured / predicted) of every point by factors that did not see it."""
    if quick:
        return fitted(points, model)[1]
    result = np.zeros(points.measured.size)
    for out, rest in parts(folds(unit)):
        c, _ = fitted(points.take(rest), model)
        some = points.take(out)
        result[out] = np.log(some.measured) - forward(some, c)[0]
    return result


def folds(unit: np.ndarray) -> np.ndarray:
    """The fold of each point: one distinct point each up to :data:`ALONE`, else :data:`FOLDS`, drawn with a fixed seed."""
    count = int(unit.max()) + 1
    if count <= ALONE:
        return unit
    return np.asarray((np.random.default_rng(0).permutation(count) % FOLDS)[unit])


def parts(fold: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for number in range(int(fold.max()) + 1):
        yield np.flatnonzero(fold == number), np.flatnonzero(fold != number)


def better(before: np.ndarray, after: np.ndarray, unit: np.ndarray, margin: float) -> bool:
    """Whether errors fell by more than ``margin`` standard errors of their difference, distinct points counting alike."""
    gain = np.bincount(unit, np.abs(before) - np.abs(after)) / np.bincount(unit)
    chance = student(margin, gain.size - 1) * float(np.std(gain, ddof=1)) / np.sqrt(gain.size)
    return bool(gain.mean() > max(chance, REPEATS, WORTH * float(np.mean(np.abs(before)))))


def student(z: float, freedom: int) -> float:
    """The quantile of Student's t where a normal's is ``z`` (the first term of its expansion)."""
    return z + (z**3 + z) / (4.0 * freedom)


def interval(left: np.ndarray) -> tuple[float, float]:
    """Factors to the ends of the central 80 % of left-out points; wider than a normal's where they are few (Student's t)."""
    if left.size >= MANY:
        low, high = np.quantile(left, (0.1, 0.9))
    else:
        z = NormalDist().inv_cdf(0.9)
        half = student(z, left.size - 1) * float(np.sqrt(np.mean(left**2)))
        low, high = -half, half
    return float(np.exp(min(low, -NARROW))), float(np.exp(max(high, NARROW)))
