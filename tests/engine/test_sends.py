"""Messages between pipeline stages: who sends how much."""

from __future__ import annotations

import pytest

from speedlight.api import explain
from speedlight.engine.answers.prediction import OpRow

LAYOUT = {"phase": "train", "batch": 32, "micro_batch": 2, "isl": 1024, "tp": 4, "pp": 2, "nodes": 1}


def sends(stack: str, **more: int) -> dict[str, OpRow]:
    answer = explain("gpt-neox-20b", "dgx-a100-80gb", stack=stack, **{**LAYOUT, "tp": 4, **more})
    assert sum(row.time for row in answer.ops) == pytest.approx(float(answer.time), rel=1e-9)
    return {row.name: row for row in answer.ops if row.name.startswith("stages.")}


def test_tensor_parallel_ranks_send_a_share_each_and_gather_the_whole() -> None:
    """arXiv 2104.04473 §4.1. With sequence parallelism each holds a share anyway, and nothing is gathered."""
    split, parted = sends("megatron@2021.04"), sends("megatron@2021.04", sp=1)
    assert set(split) == {"stages.send", "stages.gather"}
    assert set(parted) == {"stages.send"}
    assert split["stages.send"].busy == pytest.approx(parted["stages.send"].busy)
    assert split["stages.send"].count == split["stages.gather"].count == 2 * 16
    assert sends("torchtitan")["stages.send"].busy > split["stages.send"].busy
    assert set(sends("megatron@2021.04", tp=1)) == {"stages.send"}
