"""The fit file's header: complete, versioned, and refused by name where it is not."""

from __future__ import annotations

from typing import Any

import pytest

from speedlight._foundation.errors import BadFile
from speedlight.costs.calibration.header import FitHeader, read_header

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
