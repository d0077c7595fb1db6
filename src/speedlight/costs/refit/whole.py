"""Fitting kernels to the times of whole models: many kernels of many sorts, one measured time for all of them together.

A model's time is the sum of its kernels', Σ count · t. Each sort of kernel (a *partition*: convolutions, depthwise ones,
products, streams …) has its own terms and blocks; they are fitted together by Levenberg and Marquardt's damped Gauss–Newton on the log of the sums (undamped it runs
away: which of two terms a kernel waits for changes with their efficiencies). The
Jacobian of a model's log time is the mean of its kernels' Jacobians, weighted by their shares of the time, so that rows are
models and columns the nodes of all blocks: few enough of both for exact dense solves.

What a model's time cannot tell apart (two kernels that always come together) the ridge splits by its weights, within what their
resources allow (:mod:`.floors`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.linalg as sla
import scipy.sparse as sp

from ..calibration.blocks import Block, Places
from ..calibration.model import Part, Spread
from ..calibration.samples import Family
from .floors import Floor, floor
from .solve import STEP, TINY, Data, bends, design, fitted, forward, penalty, robust
from .train import pairs, present, times

Sort = tuple[str, ...]
ITERATIONS = 30
TRUSTING = 8  # iterations in which every row counts
TRIES = 8  # steps tried, each shorter, before the fit is taken as settled
ENOUGH = 1e-3  # relative decrease of the squares at which the fit has settled


@dataclass(frozen=True)
class Kernels:
    """Kernels of one sort, over all models.

    Attributes:
        data: their terms, coordinates and keys; ``measured`` and ``weight`` are not looked at.
        row: number of the model each belongs to.
        count: how often it runs there.
    """

    data: Data
    row: np.ndarray
    count: np.ndarray

    def of_rows(self, keep: np.ndarray, number: np.ndarray) -> Kernels:
        """Those of some rows, which get new numbers."""
        some = np.flatnonzero(keep[self.row])
        return Kernels(self.data.take(some), number[self.row[some]], self.count[some])


@dataclass(frozen=True)
class Wholes:
    """Models with their kernels.

    Attributes:
        kernels: by sort.
        measured: seconds of each row.
        weight: relative weight of each row.
    """

    kernels: Mapping[Sort, Kernels]
    measured: np.ndarray
    weight: np.ndarray

    def take(self, rows: np.ndarray) -> Wholes:
        keep = np.zeros(self.measured.size, dtype=bool)
        keep[rows] = True
        number = np.full(self.measured.size, -1)
        number[rows] = np.arange(rows.size)
        kernels = {sort: k.of_rows(keep, number) for sort, k in self.kernels.items()}
        return Wholes({s: k for s, k in kernels.items() if k.row.size}, self.measured[rows], self.weight[rows])


@dataclass(frozen=True)
class _Sort:
    """One sort under way: its design matrices, and where its unknowns lie."""

    family: Family
    kernels: Kernels
    logs: Mapping[str, np.ndarray]
    blocks: tuple[Block, ...]
    matrices: tuple[sp.csr_matrix, ...]
    classes: tuple[list[tuple[str, ...]], ...]
    bounds: np.ndarray

    def times(self, x: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Seconds of each kernel, and each term's share of them."""
        family, bent = self.family, bends(self.blocks, self.matrices, self.bounds, x)
        logs, shares = forward(family.parallel, family.serial, family.power, self.logs, bent)
        return np.exp(logs), shares


def fit(families: Mapping[Sort, Family], wholes: Wholes, least: Mapping[str, float] | None = None) -> dict[Sort, Part]:
    """Parts of every sort that some row has; they come with an empty spread.

    Args:
        families: terms and ``shared`` blocks of each sort.
        wholes: what was measured.
        least: term → log of the factor below which no kernel's seconds of it should be bent.
    """
    once, of = _once(wholes)
    sorts: dict[Sort, _Sort] = {}
    priors: list[sp.csr_matrix] = []
    start = 0
    for sort, kernels in sorted(once.kernels.items()):
        made, prior, start = _prepared(families[sort], kernels, start)
        sorts[sort] = made
        priors += prior
    prior = sp.block_diag(priors).toarray()
    target = np.log(wholes.measured)
    size = once.measured.size
    x, damping = np.zeros(start), 1.0
    predicted, jacobian = _linearised(sorts, x, size)
    floors = _floors(sorts, np.exp(predicted), np.bincount(of, wholes.weight, size), least or {})
    for iteration in range(ITERATIONS):
        residual = target - predicted[of]
        # Outliers are told once the rest fits: before that, whole settings are far off.
        weights = wholes.weight * (robust(residual) if iteration >= TRUSTING else 1.0)
        normal = _squares(jacobian, np.bincount(of, weights, size)) + prior
        slope = jacobian.T @ np.bincount(of, weights * residual, size) - prior @ x
        before = float(weights @ residual**2 + x @ prior @ x)
        for each in floors:
            each.push(x, normal, slope)
        before += sum(each.cost(x) for each in floors)
        for _ in range(TRIES):
            step = sla.solve(normal + damping * np.diag(np.diag(normal)), slope, assume_a="pos")
            new = x + np.clip(step, -STEP, STEP)
            said, bent = _linearised(sorts, new, size)
            after = float(weights @ (target - said[of]) ** 2 + new @ prior @ new)
            after += sum(each.cost(new) for each in floors)
            if after < before:
                break
            damping *= 4.0
        else:
            break
        x, predicted, jacobian, damping = new, said, bent, damping / 4.0
        if iteration > TRUSTING and before - after < ENOUGH * before:
            break
    return {sort: _part(made, x) for sort, made in sorts.items()}


def _floors(
    sorts: Mapping[Sort, _Sort], total: np.ndarray, weight: np.ndarray, least: Mapping[str, float]
) -> list[Floor]:  # fmt: skip
    """Of every sort and term, by shares of the analytic time."""
    found = []
    for made in sorts.values():
        low = int(made.bounds[0])
        seconds, shares = made.times(np.zeros(int(made.bounds[-1])))
        row = made.kernels.row
        part = weight[row] * made.kernels.count * seconds / total[row]
        for term, factor in least.items():
            if term in shares:
                bends = [block.term == term for block in made.blocks]
                found.append(floor(made.matrices, bends, low, factor, part * shares[term]))
    return [one for one in found if one is not None]


def _once(wholes: Wholes) -> tuple[Wholes, np.ndarray]:
    """Rows with the same kernels once (versions of a stack that run the same), and the number of every row's among them."""
    said = []
    for kernels in wholes.kernels.values():
        codes = np.zeros(kernels.row.size)
        for field, code in enumerate(kernels.data.keys.values(), start=1):
            codes += np.sqrt(field + 0.5) * code
        for column in (codes, *kernels.data.terms.values()):
            said.append(np.bincount(kernels.row, kernels.count * column, wholes.measured.size))
    _, first, of = np.unique(np.stack(said, axis=1), axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    number = np.empty_like(order)
    number[order] = np.arange(order.size)
    return wholes.take(first[order]), number[np.ravel(of)]


def _squares(jacobian: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """JᵀWJ, in single precision: it only directs a step whose success is measured in double."""
    half = (np.sqrt(weights)[:, None] * jacobian).astype(np.float32)
    upper = sla.blas.ssyrk(1.0, half.T).astype(float)
    found: np.ndarray = upper + np.triu(upper, 1).T
    return found


def _prepared(family: Family, kernels: Kernels, start: int) -> tuple[_Sort, list[sp.csr_matrix], int]:
    places = Places(kernels.data.coords)
    matrices, priors, classes, bounds = [], [], [], [start]
    for block in family.shared:
        matrix, own = design(block, kernels.data, places)
        matrices.append(matrix)
        priors.append(penalty(block, len(own)))
        classes.append(own)
        bounds.append(bounds[-1] + matrix.shape[1])
    logs = {n: np.log(np.maximum(kernels.data.terms[n], TINY)) for n in (*family.parallel, *family.serial)}
    made = _Sort(family, kernels, logs, family.shared, tuple(matrices), tuple(classes), np.array(bounds))
    return made, priors, bounds[-1]


def _linearised(sorts: Mapping[Sort, _Sort], x: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Log time of every row, and its derivatives by every node."""
    found = {sort: made.times(x) for sort, made in sorts.items()}
    total = np.zeros(rows)
    for sort, made in sorts.items():
        total += np.bincount(made.kernels.row, weights=made.kernels.count * found[sort][0], minlength=rows)
    jacobian = np.zeros((rows, x.size))
    for sort, made in sorts.items():
        seconds, shares = found[sort]
        row, size = made.kernels.row, made.kernels.row.size
        part = made.kernels.count * seconds / total[row]
        for block, matrix, low, high in zip(made.blocks, made.matrices, made.bounds, made.bounds[1:], strict=False):
            weight = part * shares[block.term] if block.term != "total" else part
            sums = sp.csr_matrix((weight, (row, np.arange(size))), shape=(rows, size)) @ matrix
            jacobian[:, low:high] += sums.toarray()
    return np.log(total), jacobian


def _part(made: _Sort, x: np.ndarray) -> Part:
    family, data = made.family, made.kernels.data
    blocks = fitted(made.blocks, made.classes, made.bounds, x)
    return Part(
        family.parallel, family.serial, family.power, blocks, Spread((), {}), pairs(data), present(data, "architecture")
    )  # fmt: skip


def without(families: Mapping[Sort, Family], field: str) -> dict[Sort, Family]:
    """Families whose blocks know nothing of single values of a key field."""
    return {
        sort: dataclasses.replace(family, shared=tuple(b for b in family.shared if field not in b.per))
        for sort, family in families.items()
    }


def seconds(parts: Mapping[Sort, Part], wholes: Wholes) -> np.ndarray:
    """Σ count · t of every row; NaN where a sort of its kernels has no part."""
    total = np.zeros(wholes.measured.size)
    for sort, kernels in wholes.kernels.items():
        if sort not in parts:
            total[kernels.row] = np.nan
            continue
        own = times(parts[sort], kernels.data)
        total += np.bincount(kernels.row, weights=kernels.count * own, minlength=total.size)
    return total
