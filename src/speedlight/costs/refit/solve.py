"""Fitting blocks: damped Gauss–Newton on log time, sparse, robust, with smoothness as the only prior.

The residual of a row is log(measured) − log(predicted). Each step solves the linearised, weighted least squares

    min Σ w (r − J dx)² + Σ_blocks (smooth · |second differences|² + ridge · |values|²)

by conjugate gradients; weights fall for outliers (Cauchy-like), so that a kernel's freak rows do not bend its surface. The
Jacobian of log time with respect to a term's log efficiency is that term's share of the time.

Roads not taken (studies/2026-11-refit.md): steps without damping, each solved to 1e-4, take twice as long; steps that must
help, or twice as many, fit the rows better and shape groups left out worse; a direct factorisation fills in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as sla

from ..calibration.blocks import Axis, Block, Places, corners
from ..calibration.model import Fitted

TOLERANCE = 3e-3  # relative residual at which the linear solves of a class's own blocks stop
STEPWISE = 0.03  # of a step's; steps make up for what one leaves
ROUNDS = 6  # steps of the shared blocks at most
SETTLED = 1e-3  # the largest change of a log efficiency at which they have settled
DAMPING, LIGHTER = 0.01, 4.0  # Marquardt's share of the diagonal, and how much less or more after a step
TRIES = 3  # of a step, each shorter
HELD = 100.0  # ridge of a term that is counted exactly
CLASS_ROWS = 16_000  # rows of a class that its own blocks are fitted to
STEP = 1.0  # the largest change of a log efficiency in one iteration
NOTHING = 1e-6  # share of the time below which an efficiency does not matter to a row
TINY = 1e-12  # seconds; a term without a part
ITERATIONS = 600  # of a linear solve


def held(blocks: Iterable[Block], terms: Iterable[str]) -> tuple[Block, ...]:
    """Blocks, those of some terms held near no bend at all: what is counted exactly is bent last.

    Cards of one kind have one ratio of bandwidth to peak to clock, so that their times hardly tell the bytes of main memory from what
    a unit takes in, or from launches. Left free, a fit says that memory is half as fast as it is, and a card with another ratio
    gets that too: ``mla_bmm`` with a device left out errs 19 % so, 11 % with memory and products held (studies/2026-11-strangers.md).
    """
    firm = frozenset(terms)
    return tuple(replace(b, ridge=max(b.ridge, HELD)) if b.term in firm else b for b in blocks)


@dataclass(frozen=True)
class Data:
    """Rows to fit: columns of one partition.

    Attributes:
        terms, coords: a value a row.
        keys: field → class code of each row; ``names`` the values behind the codes.
        measured: seconds, positive.
        weight: relative weight of each row.
    """

    terms: Mapping[str, np.ndarray]
    coords: Mapping[str, np.ndarray]
    keys: Mapping[str, np.ndarray]
    names: Mapping[str, tuple[str, ...]]
    measured: np.ndarray
    weight: np.ndarray

    def take(self, rows: np.ndarray) -> Data:
        return Data(
            {n: v[rows] for n, v in self.terms.items()},
            {n: v[rows] for n, v in self.coords.items()},
            {n: v[rows] for n, v in self.keys.items()},
            self.names,
            self.measured[rows],
            self.weight[rows],
        )

    def classes(self, per: Sequence[str]) -> tuple[list[tuple[str, ...]], np.ndarray]:
        """Distinct classes of some fields, and each row's."""
        index = np.zeros(self.measured.size, dtype=np.int64)
        for name in per:
            index = index * len(self.names[name]) + self.keys[name]
        present, inverse = np.unique(index, return_inverse=True)
        result = []
        for code in present:
            values = []
            for name in reversed(per):
                code, own = divmod(int(code), len(self.names[name]))
                values.append(self.names[name][own])
            result.append(tuple(reversed(values)))
        return result, inverse


def design(block: Block, data: Data, places: Places) -> tuple[sp.csr_matrix, list[tuple[str, ...]]]:
    """Rows × (classes · nodes) matrix of interpolation weights."""
    classes, inverse = data.classes(block.per)
    rows = data.measured.size
    pairs = corners(block.axes, places)
    indices = np.stack([np.broadcast_to(i, rows) for i, _ in pairs], 1) + (inverse * block.size)[:, None]
    weights = np.stack([np.broadcast_to(w, rows) for _, w in pairs], 1)
    pointers = np.arange(0, rows * len(pairs) + 1, len(pairs))
    matrix = sp.csr_matrix(
        (weights.ravel(), indices.ravel().astype(np.int32), pointers.astype(np.int32)),
        shape=(rows, len(classes) * block.size),
    )
    return matrix, classes


def penalty(block: Block, classes: int) -> sp.csr_matrix:
    """Second differences along each axis plus ridge, once for each class."""
    shape = [a.count for a in block.axes]
    total = sp.identity(block.size) * block.ridge
    smooth = block.smooth or (0.1,) * len(shape)
    for d, axis in enumerate(block.axes):
        factors = [sp.identity(s) for s in shape]
        factors[d] = smooth[d] * _bending(axis, block.flat)
        product = factors[0]
        for factor in factors[1:]:
            product = sp.kron(product, factor)
        total = total + product
    return sp.kron(sp.identity(classes), total).tocsr()


def _bending(axis: Axis, flat: float) -> sp.csr_matrix:
    """Squared second differences (first ones where there are two nodes), and ``flat`` times squared first ones."""
    n = axis.count
    slope = np.diff(np.eye(n), axis=0) / axis.step**0.5
    if n == 2:
        return sp.csr_matrix(slope.T @ slope)
    bend = np.diff(np.eye(n), n=2, axis=0) / axis.step**1.5
    return sp.csr_matrix(bend.T @ bend + flat * (slope.T @ slope))


def gauss_newton(
    parallel: Sequence[str], serial: Sequence[str], power: float, blocks: Sequence[Block], data: Data
) -> tuple[Fitted, ...]:
    """Fit blocks of terms (and of ``total``) together, by Levenberg and Marquardt's damped Gauss–Newton.

    Undamped it may run to and fro: which of two terms a kernel waits for changes with their efficiencies.
    """
    places = Places(data.coords)
    matrices, penalties, classes = [], [], []
    for block in blocks:
        matrix, own = design(block, data, places)
        matrices.append(matrix)
        penalties.append(penalty(block, len(own)))
        classes.append(own)
    prior = sp.block_diag(penalties).tocsr()
    nodes = sp.hstack(matrices).tocsr()  # a row's entries lie block after block, as many in every row
    interpolation = nodes.data.reshape(data.measured.size, -1)
    entries = np.cumsum([0, *(m.nnz // data.measured.size for m in matrices)])
    bounds = np.cumsum([0, *(m.shape[1] for m in matrices)])
    logs = {n: np.log(np.maximum(data.terms[n], TINY)) for n in (*parallel, *serial)}
    target = np.log(data.measured)

    def said(x: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        return forward(parallel, serial, power, logs, bends(blocks, matrices, bounds, x))

    x, damping = np.zeros(bounds[-1]), DAMPING
    predicted, shares = said(x)
    for _ in range(ROUNDS):
        slopes = interpolation.copy()
        for block, first, end in zip(blocks, entries, entries[1:], strict=False):
            if block.term != "total":
                slopes[:, first:end] *= shares[block.term][:, None]
        residual = target - predicted
        weights = data.weight * robust(residual)
        before = weights @ residual**2 + x @ (prior @ x)
        jacobian = sp.csr_matrix((slopes.ravel(), nodes.indices, nodes.indptr), shape=nodes.shape)
        normal = Normal(jacobian, weights, prior)
        downhill = jacobian.T @ (weights * residual) - prior @ x
        for _ in range(TRIES):
            new = x + np.clip(normal.solve(downhill, damping), -STEP, STEP)
            predicted, shares = said(new)
            if weights @ (target - predicted) ** 2 + new @ (prior @ new) < before:
                damping /= LIGHTER
                break
            damping *= LIGHTER  # the last is taken even if it harms: bold first steps leave the analytic start sooner
        change, x = np.abs(new - x), new
        if np.max(change, initial=0.0) < SETTLED:
            break
    return fitted(blocks, classes, bounds, x)


def linear(blocks: Sequence[Block], data: Data, residual: np.ndarray, rounds: int = 2) -> tuple[Fitted, ...]:
    """Fit ``total`` blocks to what is left, class by class: blocks share their ``per``, so classes are independent."""
    per = blocks[0].per
    assert all(b.per == per for b in blocks)
    classes, inverse = data.classes(per)
    order = np.argsort(inverse, kind="stable")
    bounds = np.searchsorted(inverse[order], np.arange(len(classes) + 1))
    prior = sp.block_diag([penalty(b, 1) for b in blocks]).tocsr()
    found: list[dict[tuple[str, ...], np.ndarray]] = [{} for _ in blocks]
    for number, cls in enumerate(classes):
        rows = evenly(order[bounds[number] : bounds[number + 1]], CLASS_ROWS)
        own, left_over = data.take(rows), residual[rows]
        share = rows.size / (bounds[number + 1] - bounds[number])
        places = Places(own.coords)
        matrix = sp.hstack([design(b, own, places)[0] for b in blocks]).tocsr()
        # Outliers are told by their distance from the typical row before anything is fitted, or they bend the first round.
        weight = own.weight / share
        weights = weight * robust(left_over - np.median(left_over))
        x = np.zeros(matrix.shape[1])
        for _ in range(rounds):
            x = solve(matrix, left_over, weights, prior, x)
            weights = weight * robust(left_over - matrix @ x)
        offset = 0
        for block, store in zip(blocks, found, strict=True):
            store[cls] = x[offset : offset + block.size]
            offset += block.size
    return tuple(Fitted(b, t) for b, t in zip(blocks, found, strict=True))


def evenly(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many of some rows, evenly spread."""
    if rows.size <= most:
        return rows
    return rows[np.unique(np.linspace(0, rows.size - 1, most).astype(np.int64))]


def forward(
    parallel: Sequence[str], serial: Sequence[str], power: float, logs: Mapping[str, np.ndarray],
    bends: Mapping[str, np.ndarray],
) -> tuple[np.ndarray, dict[str, np.ndarray]]:  # fmt: skip
    """Log time and each term's share of it (the derivative of log time by the term's log)."""
    bent = {n: logs[n] + bends.get(n, 0.0) for n in (*parallel, *serial)}
    shares: dict[str, np.ndarray] = {}
    total = np.zeros_like(next(iter(bent.values())))
    joint = None
    if parallel:
        stack = np.stack([bent[n] for n in parallel])
        top = stack.max(0)
        joint = top + np.log(np.exp(power * (stack - top)).sum(0)) / power
        total = np.exp(joint)
    for name in serial:
        total = total + np.exp(bent[name])
    log_total = np.log(total)
    for name in serial:
        shares[name] = np.exp(bent[name] - log_total)
    if joint is not None:
        for name in parallel:
            shares[name] = np.exp(power * (bent[name] - joint) + joint - log_total)
    return log_total + bends.get("total", 0.0), shares


def robust(residual: np.ndarray) -> np.ndarray:
    """Cauchy's weights, half at two and a half typical residuals: a kernel's slow mode must not bend its usual one."""
    scale = np.median(np.abs(residual)) + 1e-3
    weights: np.ndarray = 1.0 / (1.0 + (residual / (2.5 * scale)) ** 2)
    return weights


class Normal:
    """AᵀWA + P as an operator. AᵀWA is never formed: rows have up to a hundred entries, so that one product costs more than a hundred iterations."""

    def __init__(self, matrix: sp.csr_matrix, weights: np.ndarray, prior: sp.csr_matrix) -> None:
        rows = sp.csr_matrix(matrix, dtype=np.float32, copy=True)  # dropping entries moves the others in place
        rows.data[np.abs(rows.data) <= NOTHING] = 0.0
        rows.eliminate_zeros()
        self.rows, self.columns, self.prior = rows, rows.T.tocsr(), prior
        self.weights = weights.astype(np.float32)
        self.diagonal = np.asarray(self.columns.power(2) @ self.weights, dtype=float) + prior.diagonal()

    def solve(self, right: np.ndarray, damping: float) -> np.ndarray:
        """x of (AᵀWA + P + damping · its diagonal) x = right, as far as a step needs it."""
        damped = damping * self.diagonal

        def left(x: np.ndarray) -> np.ndarray:
            full = self.columns @ (self.weights * (self.rows @ x.astype(np.float32)))
            return np.asarray(full + self.prior @ x + damped * x, dtype=float)

        operator = sla.LinearOperator(self.prior.shape, matvec=left, dtype=float)
        return _conjugate(operator, self.diagonal + damped, right, np.zeros(right.size), STEPWISE)


def solve(
    matrix: sp.csr_matrix, target: np.ndarray, weights: np.ndarray, prior: sp.csr_matrix, start: np.ndarray
) -> np.ndarray:
    """min Σ w (target − A x)² + xᵀ P x, where rows have few entries: AᵀWA costs as much as fifty iterations without it."""
    columns = matrix.T.tocsr()
    normal = (columns @ sp.diags(weights) @ matrix + prior).tocsr()
    return _conjugate(normal, normal.diagonal(), columns @ (weights * target), start, TOLERANCE)


def _conjugate(
    left: sla.LinearOperator | sp.csr_matrix,
    diagonal: np.ndarray,
    right: np.ndarray,
    start: np.ndarray,
    tolerance: float,
) -> np.ndarray:
    """Conjugate gradients, preconditioned by the diagonal."""
    jacobi = sp.diags(1.0 / np.where(diagonal > 0, diagonal, 1.0))
    found, _ = sla.cg(left, right, x0=start, M=jacobi, rtol=tolerance, maxiter=ITERATIONS)
    return np.asarray(found)


def bends(
    blocks: Sequence[Block], matrices: Sequence[sp.csr_matrix], bounds: np.ndarray, x: np.ndarray
) -> dict[str, np.ndarray]:
    """Log efficiency of each term, row by row; a block's unknowns lie between its bounds."""
    result: dict[str, np.ndarray] = {}
    for block, matrix, low, high in zip(blocks, matrices, bounds, bounds[1:], strict=False):
        part = matrix @ x[low:high]
        result[block.term] = result[block.term] + part if block.term in result else part
    return result


def fitted(
    blocks: Sequence[Block], classes: Sequence[Sequence[tuple[str, ...]]], bounds: np.ndarray, x: np.ndarray
) -> tuple[Fitted, ...]:
    """Blocks with the tables of their classes, out of all unknowns."""
    return tuple(
        Fitted(block, tables(block, own, x[low:high]))
        for block, own, low, high in zip(blocks, classes, bounds, bounds[1:], strict=False)
    )


def tables(block: Block, classes: Sequence[tuple[str, ...]], x: np.ndarray) -> dict[tuple[str, ...], np.ndarray]:
    return {cls: x[i * block.size : (i + 1) * block.size] for i, cls in enumerate(classes)}
