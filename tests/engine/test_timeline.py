"""``--timeline``: the picture of a question takes exactly as long as its answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from speedlight._foundation.errors import BadInput
from speedlight.api import explain, timeline
from speedlight.cli.main import main
from speedlight.report.chrome import chrome_json

from ..schedule.tracing import check_trace

QUESTIONS: list[dict[str, Any]] = [
    {"model": "llama-3.1-8b", "machine": "h100-sxm-80gb", "phase": "generate", "osl": 32},
    {"model": "gpt2-xl", "machine": "a100-sxm-40gb", "phase": "decode", "stack": "torch-eager"},
    {"model": "gpt2-xl", "machine": "i9-10940x", "phase": "prefill", "isl": 64},
    {"model": "gpt2-xl", "machine": "a100-sxm-40gb", "phase": "train", "batch": 4, "micro_batch": 2, "isl": 512},
    {
        "model": "gpt2-xl",
        "machine": "dgx-a100-80gb",
        "phase": "train",
        "batch": 32,
        "micro_batch": 2,
        "isl": 512,
        "pp": 4,
        "dp": 2,
        "schedule": "interleaved:2",
        "stack": "megatron",
    },
    {
        "model": "gpt2-xl",
        "machine": "dgx-a100-80gb",
        "phase": "train",
        "batch": 32,
        "micro_batch": 2,
        "isl": 512,
        "pp": 8,
        "zero": 1,
        "schedule": "zb-h2",
    },
    {"model": "mixtral-8x7b", "machine": "dgx-h200", "phase": "decode", "tp": 8, "stack": "ideal"},
]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda q: f"{q['model']}-{q['phase']}-{q.get('schedule', '')}")
def test_the_picture_takes_as_long_as_the_answer(question: dict[str, Any]) -> None:
    answer, trace = explain(**question), timeline(**question)
    assert trace.time == pytest.approx(float(answer.time), rel=1e-9)
    check_trace(chrome_json(trace))
    kinds = {s.kind for s in trace.spans}
    if not kinds & {"folded", "forward"}:
        busy = sum(s.end - s.start for s in trace.spans if s.kind not in ("issue", "wait"))
        assert busy == pytest.approx(sum(row.time for row in answer.ops if row.kind != "gap"), rel=1e-9)


def test_a_kernel_says_what_binds_it() -> None:
    trace = timeline("llama-3.1-8b", "h100-sxm-80gb", phase="decode")
    span = next(s for s in trace.spans if s.kind == "matmul")
    assert span.facts["bound"] == "hbm"
    assert 0 < span.facts["speed_of_light_s"] <= span.end - span.start


def test_a_sweep_has_no_picture() -> None:
    with pytest.raises(BadInput, match="sweep"):
        timeline("llama-3.1-8b", "h100-sxm-80gb", batch=np.array([1, 2]))


@pytest.mark.parametrize("schedule", ["zb-v", "vocabulary"])
def test_layers_laid_down_and_up_and_a_vocabulary_on_all_ranks(schedule: str) -> None:
    question: dict[str, Any] = {
        "model": "gpt2-xl", "machine": "dgx-a100-80gb", "phase": "train", "batch": 32, "micro_batch": 2, "isl": 512, "pp": 4,
    }  # fmt: skip
    answer, trace = explain(**question, schedule=schedule), timeline(**question, schedule=schedule)
    assert trace.time == pytest.approx(float(answer.time), rel=1e-9)
    assert sum(row.time for row in answer.ops) == pytest.approx(float(answer.time), rel=1e-9)
    plain = explain(**question)
    assert answer.flops == plain.flops
    assert answer.time < plain.time
    if schedule == "vocabulary":  # the table is tied: a quarter of it on every rank, in place of all of it on two
        ours, theirs = (x.memory.by_class["weights"] for x in (answer, plain))
        assert ours < theirs


def test_the_command_writes_the_file(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert main(["explain", "gpt2-xl", "--on", "h100-sxm-80gb", "--phase", "decode", "--timeline", str(out)]) == 0
    read = check_trace(out.read_text())
    assert set(read["names"].values()) == {"kernels", "host issues"}
