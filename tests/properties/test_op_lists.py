"""Laws of ops files: they hold for every template, size and machine that answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import speedlight
from speedlight._foundation.errors import SpeedlightError
from tests.strategies import MACHINES, STACKS, op_lists


def ask(folder: pytest.TempPathFactory, file: dict[str, Any], machine: str, stack: str) -> speedlight.Prediction | None:
    """The answer; None where the sizes make no sense (a filter larger than its image) or the machine has no link."""
    path = folder.getbasetemp() / f"drawn-{abs(hash(json.dumps(file)))}.json"
    path.write_text(json.dumps(file), "utf-8")
    try:
        return speedlight.explain(str(path), machine, stack=stack)
    except SpeedlightError:
        return None


@settings(max_examples=60)
@given(op_lists(), st.sampled_from(MACHINES), st.sampled_from(STACKS))
def test_answers_keep_their_order_and_their_sums(
    tmp_path_factory: pytest.TempPathFactory, file: dict[str, Any], machine: str, stack: str
) -> None:
    p = ask(tmp_path_factory, file, machine, stack)
    if p is None:
        return
    assert 0 <= p.limit <= p.time * (1 + 1e-9)
    assert p.low <= p.time <= p.high
    assert sum(row.time for row in p.ops) == pytest.approx(p.time, rel=1e-9)
    for row in p.ops:
        assert row.limit <= row.time * (1 + 1e-9), row
    json.dumps(p.to_dict(), allow_nan=False)


@settings(max_examples=20)
@given(op_lists(), st.integers(2, 64))
def test_a_count_multiplies_work_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, file: dict[str, Any], count: int
) -> None:
    once = ask(tmp_path_factory, file, "dgx-h200", "ideal")
    often = ask(tmp_path_factory, {**file, "ops": [{**op, "count": count} for op in file["ops"]]}, "dgx-h200", "ideal")
    if once is None or often is None:
        return
    assert often.flops == pytest.approx(count * once.flops, rel=1e-9)
    assert often.limit == pytest.approx(count * once.limit, rel=1e-9)
    assert often.memory.total == once.memory.total
