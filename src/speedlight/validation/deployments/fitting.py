"""The bends of serving engines from measured rows: ridge regression of log latencies, robust to rows nothing explains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...engine.serving.serving_fit import LEVELS
from .answers import Said, factors, points
from .columns import METRICS
from .model import Design, latencies

SCALES = (0.12, 0.06)  # of TTFT's and TPOT's logs beyond which a row counts less (Cauchy's weights at twice these)
ROUNDS = 40
ENOUGH = 3e-5  # share of the cost a step must gain for another one
MOST_DAMPING = 1e6
FITTED = ("agg", "disagg")
OPEN_TAIL = 0.08  # rows whose worker counts are open are promised to lie inside at least four times in five
FEWEST = 20  # rows from which quantiles say something


def solve(said: Said, measured: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Values that explain the rows chosen (Levenberg–Marquardt with the levels' priors as ridge).

    Args:
        said: all rows.
        measured: (rows, 2) seconds, TTFT and TPOT.
        rows: which to fit to; rows without a measurement, without features or without worker counts are left out.
    """
    made, weights = said.design, said.features[0].weights
    rows = rows & np.isin(said.kinds, FITTED) & said.features[0].found
    theta = np.zeros(len(made.names))
    prior = 1.0 / made.sd**2
    chosen = np.flatnonzero(rows & np.isfinite(measured).all(1) & (measured > 0).all(1))
    part = Design(made.names, made.sd, {c: p[chosen] for c, p in made.places.items()}, made.start[chosen])
    target = np.log(measured[chosen])
    alike, values, bent = _alike(part)
    pairs = (values[:, :, None] * len(theta) + values[:, None, :]).ravel()
    damping, best = 1e-3, _cost(part, theta, weights[chosen], target, prior)
    for _ in range(ROUNDS):
        found = latencies(part, theta, weights[chosen], derivatives=True)
        assert found.by_column is not None
        normal, pull = np.diag(prior), -theta * prior
        for column, (seconds, slope) in enumerate(zip((found.ttft, found.tpot), found.by_column, strict=True)):
            left = target[:, column] - np.log(seconds)
            weight = 1.0 / (1.0 + (left / (2 * SCALES[column])) ** 2) / SCALES[column] ** 2
            weighted = slope * weight[:, None]
            curves = np.stack([slope[here].T @ weighted[here] for here in alike])[:, bent][:, :, bent]
            pulls = np.stack([left[here] @ weighted[here] for here in alike])[:, bent]
            pull = pull + np.bincount(values.ravel(), pulls.ravel(), len(pull))
            normal = normal + np.bincount(pairs, curves.ravel(), normal.size).reshape(normal.shape)
        gained = 0.0
        while damping < MOST_DAMPING:
            step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), pull)
            cost = _cost(part, theta + step, weights[chosen], target, prior)
            if cost < best:
                gained, best, theta, damping = best - cost, cost, theta + step, max(damping / 3, 1e-6)
                break
            damping *= 4
        if gained < ENOUGH * best:
            break
    return theta


def _alike(made: Design) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Rows that share all their values: (their places, their values, one way each row; the column each value bends)."""
    every = np.concatenate([made.places[column] for column in LEVELS], 1)
    bent = np.repeat(np.arange(len(LEVELS)), [made.places[column].shape[1] for column in LEVELS])
    values, kind = np.unique(every, axis=0, return_inverse=True)
    return [np.flatnonzero(kind.ravel() == k) for k in range(len(values))], values, bent


def _cost(made: Design, theta: np.ndarray, weights: np.ndarray, target: np.ndarray, prior: np.ndarray) -> float:
    """What is made small: Cauchy's loss of the logs' errors, and the priors."""
    found = latencies(made, theta, weights)
    left = (target - np.log(np.stack([found.ttft, found.tpot], 1))) / (2 * np.array(SCALES))
    return float(2 * np.log1p(left**2).sum() + (theta**2 * prior).sum() / 2)


def folds_of(groups: Sequence[str], count: int, seed: int = 1) -> np.ndarray:
    """A fold for each row, whole groups together."""
    names = sorted(set(groups))
    order = np.random.default_rng(seed).permutation(len(names))
    fold = {name: int(place) % count for name, place in zip(names, order, strict=True)}
    return np.array([fold[g] for g in groups])


def out_of_fold(
    said: Said, measured: np.ndarray, fold: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """:func:`.answers.points` of every row by values and centres fitted without its fold."""
    rows = said.kinds != ""
    answers = [np.full((len(rows), 2), np.nan) for _ in range(3)]
    for number in np.unique(fold[rows]):
        theta = solve(said, measured, fold != number)
        here = rows & (fold == number)
        point, least, most = points(said, theta)
        point = point * factors(said.kinds, centres(said, measured, point, fold != number))
        for answer, found in zip(answers, (point, least, most), strict=True):
            answer[here] = found[here]
    return answers[0], answers[1], answers[2]


def centres(said: Said, measured: np.ndarray, point: np.ndarray, rows: np.ndarray) -> dict[str, float]:
    """Logs of the factors that make the mean relative error of rows least, by kind of row and metric.

    What is fitted is the middle of a latency's log. A saturated pool's answer is off by a factor either way, and a factor above
    costs more than one below: the answer with the least expected relative error is the median of measured over predicted,
    weighted by predicted over measured.
    """
    found = {}
    for kind in FITTED:
        for column, metric in enumerate(METRICS):
            here = rows & (said.kinds == kind) & np.isfinite(point[:, column]) & (measured[:, column] > 0)
            if here.sum() >= FEWEST:
                over = np.sort(measured[here, column] / point[here, column])
                total = np.cumsum(1.0 / over)
                middle = over[np.searchsorted(total, total[-1] / 2)]
                found[f"{kind}/{metric}"] = round(float(np.log(middle)), 4)
    return found


def ends(
    said: Said, measured: np.ndarray, answers: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> dict[str, tuple[float, float]]:
    """Logs of the 10 % and 90 % quantiles of measured over predicted on rows not fitted, by kind of row and metric.

    ``answers`` are those of :func:`out_of_fold`; quantiles are of the ends over the hypotheses, which no centre moves. Of rows without worker counts the distance is from the nearer end of the span over the hypotheses.
    """
    point, least, most = answers
    found = {}
    for kind in sorted(set(said.kinds.tolist()) - {""}):
        for column, metric in enumerate(METRICS):
            here = (said.kinds == kind) & np.isfinite(point).all(1) & (measured[:, column] > 0)
            if here.sum() >= FEWEST:
                below = np.log(measured[here, column] / least[here, column])
                above = np.log(measured[here, column] / most[here, column])
                tail = OPEN_TAIL if kind == "open" else 0.1
                found[f"{kind}/{metric}"] = (float(np.quantile(below, tail)), float(np.quantile(above, 1 - tail)))
    return found


def errors(said: Said, measured: np.ndarray, point: np.ndarray) -> dict[str, dict[str, float]]:
    """Median and mean relative error of answers, by kind of row and metric."""
    found = {}
    for kind in sorted(set(said.kinds.tolist()) - {""}):
        for column, metric in enumerate(METRICS):
            here = (said.kinds == kind) & np.isfinite(point[:, column]) & (measured[:, column] > 0)
            off = np.abs(point[here, column] / measured[here, column] - 1)
            if off.size:
                found[f"{kind}/{metric}"] = {
                    "rows": int(off.size), "median": round(float(np.median(off)), 4), "mean": round(float(off.mean()), 4),
                }  # fmt: skip
    return found
