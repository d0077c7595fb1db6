"""Structured-sparse rates: what is counted, and what machines without them do."""

from __future__ import annotations

import pytest

import speedlight
from speedlight.hardware.catalogue import load_machine


def test_rate_of_the_products_that_are_left() -> None:
    """Spec sheets count zeros: an A100's 624 TFLOP/s are 312 of products that are done."""
    engine = load_machine("a100-sxm-80gb", None).engine
    dense, sparse = engine.peak("matmul", "bf16")[0], engine.peak("matmul", "bf16_2of4")[0]
    assert dense.sparse_flops == pytest.approx(624e12, rel=0.01)
    assert sparse.flops == pytest.approx(312e12, rel=0.01)
    assert sparse.sparse_flops is None


def test_what_cannot_skip_fills_up() -> None:
    engine = load_machine("p100-pcie-16gb", None).engine
    assert engine.peak("matmul", "fp16_2of4")[0].flops == engine.peak("matmul", "fp16")[0].flops / 2


@pytest.mark.parametrize("machine", ["a100-sxm-80gb", "h100-sxm-80gb", "p100-pcie-16gb"])
def test_sparse_peaks_are_not_quoted_as_dense(machine: str) -> None:
    """Half the FLOPs at the dense rate: the utilisation of a sparse model is one of dense peaks, and no more than 1."""
    common = {"phase": "prefill", "batch": 8, "isl": 2048}
    dense = speedlight.explain("llama-3.1-8b", machine, **common)
    sparse = speedlight.explain("llama-3.1-8b", machine, weights="bf16_2of4", **common)
    assert sparse.flops < 0.6 * dense.flops
    assert sparse.peak_used.flops == pytest.approx(dense.peak_used.flops)
    assert sparse.mfu <= 1
    assert sparse.limit <= dense.limit
    assert sparse.time >= sparse.limit
