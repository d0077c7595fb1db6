"""The solver of fits: what it finds, and that it leaves what it is given alone."""

import numpy as np
import pytest
import scipy.sparse as sp

from speedlight.costs.calibration.blocks import Axis, Block
from speedlight.costs.refit.choose import grow
from speedlight.costs.refit.solve import NOTHING, Data, Normal, forward, gauss_newton, solve


def rows_of_units(rows: int, terms: dict[str, np.ndarray], measured: np.ndarray, size: np.ndarray) -> Data:
    zero = np.zeros(rows, dtype=np.int32)
    return Data(terms, {"size": size}, {"device": zero}, {"device": ("a",)}, measured, np.ones(rows))


@pytest.mark.parametrize("slow", [0.5, 2.0, 30.0])
def test_efficiencies_are_found_from_wherever_the_analytic_times_start(slow):
    """Two units work at once; which of them a kernel waits for changes with its size, and with their efficiencies."""
    size = np.random.default_rng(7).uniform(0.0, 8.0, 3000)
    terms = {"memory": 1e-6 * 2.0**size, "matmul": 1e-7 * 2.0 ** (1.5 * size), "launch": np.full(size.size, 5e-6)}
    bends = {
        "memory": np.log(slow) + 0.1 * size,
        "matmul": np.log(slow) - 0.05 * size,
        "launch": np.log(2.0) + 0.0 * size,
    }
    logs = {n: np.log(v) for n, v in terms.items()}
    truth, _ = forward(("memory", "matmul"), ("launch",), 3.0, logs, bends)
    axis = Axis("size", 0.0, 8.0, 2.0)
    blocks = tuple(Block(n, (axis,), ridge=1e-4, smooth=(1e-4,)) for n in terms)
    fitted = gauss_newton(
        ("memory", "matmul"), ("launch",), 3.0, blocks, rows_of_units(size.size, terms, np.exp(truth), size)
    )
    found = {f.block.term: np.interp(size, axis.low + axis.step * np.arange(axis.count), f.tables[()]) for f in fitted}
    told, _ = forward(("memory", "matmul"), ("launch",), 3.0, logs, found)
    assert np.median(np.abs(told - truth)) < 0.02
    assert np.max(np.abs(told - truth)) < 0.1


def some_matrix(rows: int = 200, unknowns: int = 12) -> sp.csr_matrix:
    rng = np.random.default_rng(7)
    dense = rng.normal(size=(rows, unknowns)) * (rng.uniform(size=(rows, unknowns)) < 0.4)
    dense[:, 3] *= NOTHING / 100.0  # a term that no row has
    return sp.csr_matrix(dense)


def test_a_class_s_blocks_are_the_least_squares():
    rng = np.random.default_rng(8)
    matrix, target, weights = some_matrix(), rng.normal(size=200), rng.uniform(0.5, 2.0, 200)
    prior = sp.identity(12).tocsr() * 0.3
    found = solve(matrix, target, weights, prior, np.zeros(12))
    dense = matrix.toarray()
    exact = np.linalg.solve(dense.T @ (weights[:, None] * dense) + prior.toarray(), dense.T @ (weights * target))
    assert found == pytest.approx(exact, abs=0.01 * np.abs(exact).max())


@pytest.mark.parametrize("damping", [0.0, 0.5])
def test_a_step_is_that_of_the_formed_equations(damping):
    rng = np.random.default_rng(8)
    matrix, right, weights = some_matrix(), rng.normal(size=12), rng.uniform(0.5, 2.0, 200)
    prior = sp.identity(12).tocsr() * 0.3
    found = Normal(matrix, weights, prior).solve(right, damping)
    dense = matrix.toarray()
    full = dense.T @ (weights[:, None] * dense) + prior.toarray()
    exact = np.linalg.solve(full + damping * np.diag(np.diag(full)), right)
    assert np.linalg.norm(found - exact) < 0.05 * np.linalg.norm(exact)


def test_dropping_entries_does_not_touch_the_matrix_that_was_handed_in():
    """SciPy's copies of another precision share their index arrays, and dropping entries moves those in place."""
    matrix = some_matrix()
    before = matrix.copy()
    Normal(matrix, np.ones(200), sp.identity(12).tocsr())
    assert (matrix.indices == before.indices).all()
    assert (matrix.indptr == before.indptr).all()
    assert (matrix != before).nnz == 0


def test_a_tree_names_kernels_by_their_own_numbers():
    """Numbers of kernels that a class does not have are left out of its tree; those it has keep their names."""
    names = np.array(["", "cublas", "cutlass", "deep_gemm"])
    size = np.arange(200.0)
    kernels = np.where(size < 100, 3, 1)
    tree = grow(size[:, None], kernels, names)
    assert set(tree.kernel) <= {"cublas", "deep_gemm"}
    only = grow(size[:, None], np.full(200, 2), names)
    assert only.kernel == ("cutlass",)
