"""The suite of published inference speeds: what is in scope, units, limits; the small fit it rests on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from speedlight.placement.serving import Layout
from speedlight.validation.published import offline
from speedlight.validation.published.bending import Part, seconds, solve
from speedlight.validation.suites import inference
from speedlight.validation.validate import validate

LLAMA = {
    "case_id": "llamacpp-xd-x", "model": "LLaMA 3 8B", "gpu": "RTX 4090", "n_gpus": 1.0, "tp": 1.0,
    "precision_weights": "Q4_K_M", "batch_or_concurrency": "1", "software": "llama.cpp (2024-05)", "scenario": "llama-bench",
    "pp": 1.0,
}  # fmt: skip
ROWS = [
    ({**LLAMA, "output_len": 128.0}, "decode_tokens_per_s_per_seq"),
    ({**LLAMA, "input_len": 512.0}, "prefill_tokens_per_s"),
    ({**LLAMA, "gpu": "Apple M2 Ultra (76 GPU cores)", "output_len": 128.0}, "decode_tokens_per_s_per_seq"),
    (
        {
            **LLAMA, "case_id": "trtllm-1.0-x", "model": "Llama 3.1 8B", "gpu": "H200-SXM-141GB", "precision_weights": "FP8",
            "input_len": 1000.0, "output_len": 1000.0,
        },
        "throughput_output_tokens_per_s",
    ),
    (
        {**LLAMA, "case_id": "mlperf4.1-x", "model": "bert-99", "gpu": "NVIDIA L40S", "scenario": "x Offline"},
        "samples_per_s",
    ),
    ({**LLAMA, "model": "nobody knows", "output_len": 1.0}, "unknown-model"),
    ({**LLAMA, "gpu": "Abacus", "output_len": 1.0}, "unknown-device"),
    ({**LLAMA}, "invalid:input_len"),
    ({**LLAMA, "case_id": "infx-slo-x"}, "out-of-scope:source"),
    ({**LLAMA, "case_id": "mlperf4.1-x", "model": "bert-99", "scenario": "x Server"}, "out-of-scope:source"),
    ({**LLAMA, "case_id": "mlperf4.1-x", "model": "dlrm", "scenario": "x Offline"}, "out-of-scope:task"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "expected"), ROWS)
def test_rows_speak_of_one_column_or_say_why_not(row: dict, expected: str) -> None:
    _, column, part = inference.question(row)
    assert column == expected
    assert (part is not None) == (expected in inference.PREDICTED)


@pytest.mark.parametrize(
    ("software", "release"),
    [("llama.cpp (2024-05), x", "2024"), ("llama.cpp build 6918, ubatch 2048", "build 6918"), ("llama.cpp", "2025"),
     ("llama.cpp, ubatch 2048", "2025")],
)  # fmt: skip
def test_a_release_is_a_year_or_the_build_named(software: str, release: str) -> None:
    part = inference.question({**LLAMA, "output_len": 128.0, "software": software})[2]
    assert part is not None
    assert part.labels["release"] == release


def test_a_published_maximum_of_experts_may_rest_on_replicated_attention() -> None:
    experts, dense = (
        offline.loaded(model, (None, None, None), "h200-sxm-141gb") for model in ("qwen3-30b-a3b", "llama-3.1-8b")
    )
    assert offline.layouts(experts, 4, 2) == (Layout(4, 1, 4, 1, 2), Layout(1, 4, 1, 4, 2))
    assert offline.layouts(experts, 1, 1) == (Layout(1, 1, 1, 1, 1),)
    assert offline.layouts(dense, 4, 1) == (Layout(4, 1, 4, 1, 1),)
    row = {
        "model": "Qwen3-30B-A3B",
        "precision_weights": "FP8",
        "tp": 4.0,
        "n_gpus": 4.0,
        "input_len": 128.0,
        "output_len": 128.0,
    }
    best = offline.published(row, "h200-sxm-141gb")[1]
    each = [
        offline.tokens("qwen3-30b-a3b", offline.FORMATS["FP8"], "h200-sxm-141gb", layout, 4.0, 128.0, 128.0, "trtllm")
        for layout in offline.layouts(experts, 4, 1)
    ]
    assert best is not None
    assert sum(best.seconds.values()) == min(sum(part.seconds.values()) for part in each if part is not None)
    assert best.limit == min(part.limit for part in each if part is not None)


def test_rates_stay_below_what_physics_allows(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="needs the extra 'data'")
    import pyarrow.parquet as pq

    rows = [row for row, _ in ROWS[:5]]
    names = sorted({name for row in rows for name in row})
    path = tmp_path / "inference.parquet"
    pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), path)
    assert validate(str(path))["predicted"] == 5
    said = inference.predict({n: np.array([row.get(n) for row in rows], dtype=object) for n in names}, len(rows))
    for i, (_, column) in enumerate(ROWS[:5]):
        o = said.outcomes[column]
        assert 0 < o.low[i] <= o.predicted[i] <= o.high[i] <= o.limit[i]
    speed = said.outcomes["decode_tokens_per_s_per_seq"].predicted
    assert 80 < speed[0] < 250
    assert said.outcomes["prefill_tokens_per_s"].predicted[1] > 10 * speed[0]


def test_a_fit_finds_the_factors_that_made_its_rows() -> None:
    levels = {"a": (((), 1.0),), "b": (((), 1.0), (("kind",), 1.0))}
    random = np.random.default_rng(0)
    parts = [Part({"a": x, "b": y}, {"kind": k}) for x, y in random.uniform(0.1, 1, (40, 2)) for k in "pq"]
    true = {"p": 2.0, "q": 0.5}
    measured = np.array([1.5 * p.seconds["a"] + true[p.labels["kind"]] * p.seconds["b"] for p in parts])
    values = solve(parts, measured, levels)
    said = np.array([seconds(p, levels, values) for p in parts])
    assert np.abs(said / measured - 1).max() < 0.01


def test_a_limit_holds_whatever_the_bends_say() -> None:
    assert seconds(Part({"a": 1e-9}, {}, limit=1.0), {"a": (((), 1.0),)}, {}) == 1.0


@pytest.mark.data
@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_every_row_in_scope_is_answered(data_dir: Path, tmp_path: Path, step: int) -> None:
    """By the fits that ship nearly all rows in scope have a prediction, and none is below its limit; a quarter of the table, or all."""
    lines = (data_dir / "published" / "inference.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    path = tmp_path / "inference.csv"
    path.write_text("".join([lines[0], *lines[1::step]]), encoding="utf-8")
    result = validate(str(path))
    outside = sum(n for status, n in result["status"].items() if status.startswith("out-of-scope"))
    assert result["predicted"] >= 0.95 * (result["rows"] - outside)
    assert not result["below_limit"]
    for column, metrics in result["metrics"].items():
        assert metrics["median_ape"] < 0.3, column
