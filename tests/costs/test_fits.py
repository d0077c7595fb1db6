"""The fit file's header: complete, versioned, and refused by name where it is not."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from speedlight._foundation.errors import BadFile
from speedlight.costs.calibration.header import FitHeader, read_header
from speedlight.costs.calibration.store import load, save

GOOD: dict[str, Any] = {
    "schema": 1, "id": "gemm-2026-12", "family": "gemm", "date": "2026-12-01", "procedure": "python -m speedlight.costs.refit",
    "features": ["waves", "intensity_over_ridge"],
    "tables": [{"name": "gemm", "rows": 1862266, "fingerprint": "sha256:0"}],
    "cross_validation": [{"leave": "group", "median_ape": 0.03, "mape": 0.05, "coverage_80": 0.8}],
}  # fmt: skip


def test_a_complete_header_reads() -> None:
    header = read_header(GOOD, "gemm.json")
    assert isinstance(header, FitHeader)
    assert header.tables[0].rows == 1862266
    assert header.layered_on is None


@pytest.mark.parametrize("missing", sorted(GOOD))
def test_every_field_is_needed(missing: str) -> None:
    with pytest.raises(BadFile, match=missing):
        read_header({k: v for k, v in GOOD.items() if k != missing}, "gemm.json")


def test_other_schemas_and_fields_are_refused() -> None:
    with pytest.raises(BadFile, match="schema"):
        read_header({**GOOD, "schema": 2}, "gemm.json")
    with pytest.raises(BadFile, match="colour"):
        read_header({**GOOD, "colour": 1}, "gemm.json")


@pytest.fixture(scope="module")
def gemm() -> bytes:
    """The shipped fit of products as bytes."""
    return (files("speedlight.costs") / "fits" / "gemm.npz").read_bytes()


def test_a_fit_survives_writing_and_reading(gemm: bytes, tmp_path: Path) -> None:
    fit = load(gemm, "gemm.npz")
    save(fit, tmp_path / "once.npz")
    again = load((tmp_path / "once.npz").read_bytes(), "once.npz")
    save(again, tmp_path / "twice.npz")
    assert (tmp_path / "once.npz").read_bytes() == (tmp_path / "twice.npz").read_bytes()
    assert again.header == fit.header
    for cls, part in fit.parts.items():
        for one, other in zip(part.blocks, again.parts[cls].blocks, strict=True):
            assert one.block == other.block
            assert all(np.array_equal(table, other.tables[key]) for key, table in one.tables.items())


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
def test_files_that_are_no_fit_are_refused(kept: float, gemm: bytes) -> None:
    with pytest.raises(BadFile, match=r"half\.npz"):
        load(gemm[: int(kept * len(gemm))], "half.npz")
    with pytest.raises(BadFile, match=r"half\.npz"):
        load(b"no archive at all", "half.npz")
