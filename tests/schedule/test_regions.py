"""A region of a spatial machine: its slowest resource plus fill, whatever it holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedlight.schedule.regions import region

SECONDS = st.floats(0.0, 1.0, allow_subnormal=False)
OPS = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(("matmul", "hbm", "link:a")), SECONDS, max_size=3), SECONDS, st.integers(0, 3)
    ),
    min_size=1, max_size=6,
)  # fmt: skip


def total(ops: Any, rows: Any) -> Any:
    return sum(seconds * count for seconds, (_, _, count) in zip(rows, ops, strict=True))


@given(OPS, st.floats(0.0, 1.0), st.integers(1, 80))
def test_a_region_takes_its_slowest_resource_and_fill(ops: Any, start: float, instances: int) -> None:
    rows = region(ops, start, float(instances))
    work = {r: sum(busy.get(r, 0.0) * count for busy, _, count in ops) for r in ("matmul", "hbm", "link:a")}
    begin = start / instances if any(count for _, _, count in ops) else 0.0
    whole = max(work.values()) + sum(fill * count for _, fill, count in ops) + begin
    assert total(ops, rows) == pytest.approx(whole, rel=1e-9, abs=1e-12)
    alone = sum(max(busy.values(), default=0.0) * count for busy, _, count in ops)
    assert max(work.values()) <= alone + 1e-12  # sharing the chip never loses to taking turns


def test_rows_of_arrays_equal_rows_of_numbers() -> None:
    work = np.array([1.0, 4.0, 0.0])
    ops = [({"matmul": work, "hbm": 2.0}, 0.1, np.array([1.0, 0.0, 2.0])), ({"hbm": 1.0}, 0.2, 1.0)]
    together = region(ops, 0.3, 2.0)
    for i in range(3):
        one = [({"matmul": float(work[i]), "hbm": 2.0}, 0.1, float(ops[0][2][i])), ({"hbm": 1.0}, 0.2, 1.0)]  # type: ignore[index]
        for a, b in zip(together, region(one, 0.3, 2.0), strict=True):
            assert np.broadcast_to(a, 3)[i] == pytest.approx(b, rel=1e-12)


def test_by_hand() -> None:
    """Two ops: 3 s of products with 1 s of memory, 1 s of products with 4 s of memory: memory's 5 s set the pace."""
    rows = region([({"matmul": 3.0, "hbm": 1.0}, 0.5, 1.0), ({"matmul": 1.0, "hbm": 4.0}, 0.5, 1.0)], 1.0, 10.0)
    assert rows == pytest.approx([0.5 + 3 * 5 / 7 + 0.1, 0.5 + 4 * 5 / 7])
