"""The suite of published training steps: what sources count, rows as questions, the rule, the fit."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speedlight._foundation.errors import SpeedlightError
from speedlight.api import make_scenario
from speedlight.costs.training import EMPTY, Entry, TrainingFit, class_of, instead, read, written
from speedlight.engine.predict import predict
from speedlight.engine.questions.resolve import planned, resolve
from speedlight.frontends.source import load_graph
from speedlight.graph.backward import differentiate
from speedlight.graph.rewrite import rewrite
from speedlight.validation.training.figures import rates_of, seconds_of
from speedlight.validation.training.fit import Step, columns_of, ends_of, left_out, shares_of, solve
from speedlight.validation.training.flops import forward_of, step_flops
from speedlight.validation.training.rows import row_of
from speedlight.validation.training.rule import told
from speedlight.validation.training.sources import source_of
from tests.folders import DATA

GPT: dict[str, Any] = {
    "case_id": "sc21-x", "model": "GPT", "architecture": "GPT decoder MHA GELU LayerNorm", "layers": 24, "hidden": 2304,
    "heads": 24, "kv_heads": 24, "head_dim": 96, "ffn": 9216, "vocab": 51200, "seq_len": 2048, "params": 1.7e9,
    "gpu": "A100-SXM4-80GB", "n_gpus": 32, "tp": 1, "pp": 1, "global_batch": 512, "precision": "fp16/bf16 mixed",
    "recompute": "full", "software": "Megatron-LM (April 2021)", "task": "pretrain", "zero_stage_or_fsdp": "0",
}  # fmt: skip
LLAMA: dict[str, Any] = {
    "case_id": "mbridge-x", "model": "LLAMA3_8B", "architecture": "decoder GQA RoPE SwiGLU RMSNorm", "layers": 32,
    "hidden": 4096, "heads": 32, "kv_heads": 8, "head_dim": 128, "ffn": 14336, "vocab": 128256, "seq_len": 8192,
    "params": 8030261248, "gpu": "H100-SXM5-80GB", "n_gpus": 8, "tp": 1, "pp": 1, "global_batch": 128, "precision": "FP8",
    "software": "Megatron-Bridge, NeMo 25.09", "task": "pre-training", "zero_stage_or_fsdp": "FSDP 8", "micro_batch": 1,
}  # fmt: skip


def test_sc21_counts_as_its_paper_does() -> None:
    """Equation 3 of arXiv 2104.04473."""
    row = row_of(GPT)
    b, s, n, h, v = 512, 2048, 24, 2304, 51200
    paper = 96 * b * s * n * h**2 * (1 + s / (6 * h) + v / (16 * n * h))
    assert step_flops(row.source, row.model, s, b) == pytest.approx(paper, rel=1e-3)


def test_seqsel_counts_model_and_hardware_flops() -> None:
    """Appendix A of arXiv 2205.05198, and s/3h for selective recomputation."""
    source = source_of("seqsel-tab5-x")
    b, s, n, h, v = 4, 2048, 24, 2304, 51200
    model = row_of(GPT).model
    plain = 72 * b * s * n * h**2 * (1 + s / (6 * h) + v / (12 * n * h))
    again = 72 * b * s * n * h**2 * (1 + s / (3 * h) + v / (12 * n * h))
    assert step_flops(source, model, s, b) == pytest.approx(plain, rel=1e-3)
    assert step_flops(source, model, s, b, again="selective", hardware=True) == pytest.approx(again, rel=1e-3)


@pytest.mark.parametrize(
    ("case", "gflop"),
    [("mbridge-x", 51.5), ("mlm-llama-x", 57.9), ("nemo-x", 57.9), ("torchtitan-x", 61.1)],
)  # fmt: skip
def test_a_token_of_llama_3_8b_by_source(case: str, gflop: float) -> None:
    """Rows that give tokens and FLOP/s give these; with the embedding for torchtitan."""
    row = row_of({**LLAMA, "case_id": case})
    assert step_flops(source_of(case), row.model, 8192, 1) / 8192 / 1e9 == pytest.approx(gflop, rel=2e-3)


def test_low_rank_finetuning_counts_no_gradients_of_weights() -> None:
    row = row_of({**LLAMA, "task": "lora"})
    f = forward_of(row.model, 8192.0)
    assert step_flops(row.source, row.model, 8192, 1, task="lora") == pytest.approx(2 * (f.layers + f.ends))


@pytest.mark.parametrize("column", ["tflops_per_gpu", "mfu", "tokens_per_s_per_gpu", "samples_per_s"])
def test_every_column_tells_the_same_seconds(column: str) -> None:
    row = row_of(LLAMA)
    assert seconds_of({column: rates_of(row)[column] / 9.0}, row) == pytest.approx(9.0)
    assert seconds_of({column: 1.0, "iteration_time_s": 7.0}, row) == 7.0


def test_a_row_becomes_a_question() -> None:
    row = row_of({**GPT, "tp": 8, "pp": 2, "n_gpus": 64, "sequence_parallel": "yes", "vpp": 3, "micro_batch": 2})
    scenario = row.scenario("full", 2.0)
    assert (row.parallel.tp, row.parallel.pp, row.parallel.dp, row.parallel.sp) == (8, 2, 4, 1)
    assert scenario.machine == "dgx-a100-80gb x 8"
    assert scenario.program.stack == "megatron@2021.04"
    assert scenario.program.workload.training.schedule == "interleaved"
    assert row.inferred == ()


def test_embeddings_are_tied_where_that_fits_the_stated_count() -> None:
    tied, untied = row_of(GPT).model, row_of({**GPT, "params": 1.7e9 + 51200 * 2304}).model
    assert '"tie_word_embeddings": true' in tied
    assert '"tie_word_embeddings": false' in untied


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"n_gpus": 30, "tp": 8}, "n_gpus"), ({"precision": "int7"}, "precision"), ({"recompute": "perhaps"}, "recompute"),
        ({"zero_stage_or_fsdp": "shards"}, "zero"), ({"n_gpus": ""}, "n_gpus"), ({"gpu": "Abacus"}, "Abacus"),
        ({"software": "Abacus 3"}, "Abacus"), ({"case_id": "mystery-1"}, "mystery"), ({"layers": "", "model": "Nobody"}, "Nobody"),
    ],
)  # fmt: skip
def test_rows_that_make_no_sense_say_so(change: dict[str, Any], word: str) -> None:
    with pytest.raises(SpeedlightError, match=word):
        row_of({**GPT, **change})


def test_the_rule_takes_the_first_recomputation_that_fits() -> None:
    small = told(row_of({**GPT, "recompute": "", "n_gpus": 8, "global_batch": 64}))
    assert small.recompute == "none" or small.memory <= 80e9
    assert small.least <= small.seconds <= small.most
    stated = told(row_of({**GPT, "n_gpus": 8, "global_batch": 64, "micro_batch": 4}))
    assert (stated.recompute, stated.micro_batch, stated.spread) == ("full", 4.0, 0.0)


# the layer of costs -------------------------------------------------------------------------------------------------------


def scenario() -> Any:
    return row_of({**GPT, "n_gpus": 8, "global_batch": 64, "micro_batch": 4}).scenario("full", 4.0)


def test_shares_are_what_a_slower_class_costs() -> None:
    log, shares = shares_of(scenario(), EMPTY)
    assert math.exp(log) == pytest.approx(float(_seconds(EMPTY)), rel=1e-9)
    assert 0.9 < sum(shares.values()) <= 1.05
    slower = TrainingFit(EMPTY.header, (Entry((("class", "product"),), 0.1),))
    gain = math.log(_seconds(slower)) - log
    expected = sum(share for (name, _), share in shares.items() if name == "product") * 0.1
    assert gain == pytest.approx(expected, rel=0.1)


def _seconds(fit: TrainingFit) -> float:
    with instead(fit):
        return float(predict(scenario(), details=False).time)


@settings(max_examples=8, deadline=None)
@given(log=st.floats(-3, 3))
def test_no_factor_takes_a_step_below_its_limit(log: float) -> None:
    with instead(TrainingFit(EMPTY.header, (Entry((("class", "product"),), log),))):
        answer = predict(scenario(), details=False)
    assert answer.low <= answer.time <= answer.high
    assert answer.limit <= answer.time * (1 + 1e-9)


def _layer(fit: TrainingFit, weights: str, stack: str = "megatron@2026.02") -> float:
    """Seconds of one product's gradient in a step of Llama 3.1 8B."""
    asked = make_scenario(
        "llama-3.1-8b", "b200-sxm-180gb", phase="train", batch=1, isl=8192, stack=stack, weights=weights, activations=weights
    )  # fmt: skip
    with instead(fit):
        return float(next(row.busy for row in predict(asked).ops if row.name == "mlp.down_proj.dgrad"))


def _entry(log: float, **where: str) -> TrainingFit:
    return TrainingFit(EMPTY.header, (Entry(tuple(sorted({"class": "product", **where}.items())), log),))


def test_microscaled_products_run_as_the_measured_ones_do() -> None:
    """No table has MXFP8; the unit multiplies it at fp8's rate, a 32nd more bytes."""
    assert _layer(EMPTY, "mxfp8") == pytest.approx(_layer(EMPTY, "fp8"), rel=0.02)


def test_entries_tell_formats_and_releases_apart() -> None:
    slower = _entry(1.0, format="mxfp8")
    assert _layer(slower, "mxfp8") == pytest.approx(math.e * _layer(EMPTY, "mxfp8"), rel=1e-6)
    assert _layer(slower, "fp8") == _layer(EMPTY, "fp8")
    of_a_release = _entry(1.0, release="megatron@2026.02")
    assert _layer(of_a_release, "fp8") == pytest.approx(math.e * _layer(EMPTY, "fp8"), rel=1e-6)
    assert _layer(of_a_release, "fp8", "megatron@2026.06") == _layer(EMPTY, "fp8", "megatron@2026.06")


def test_scans_are_a_class_of_their_own() -> None:
    asked = make_scenario("mamba-codestral-7b", "h100-sxm-80gb", phase="train", batch=1, isl=4096, stack="megatron")
    made, _ = planned(resolve(asked))
    found = {k.fn: class_of(k) for block in made.program.blocks for k in block.kernels if k.kind == "scan"}
    assert found == {"mamba2_scan": "scan", "mamba2_scan_backward": "scan"}


def test_a_fit_file_says_what_it_was_given() -> None:
    fit = TrainingFit(
        {"id": "x", "family": "training", "date": "", "tables": [], "cross_validation": []},
        (Entry((("class", "product"), ("stack", "megatron")), 0.125),), {"|dense": (-0.1, 0.2)}, frozenset({("megatron", "Hopper")}),
    )  # fmt: skip
    again = read(written(fit))
    assert (again.entries, dict(again.spread), again.seen) == (fit.entries, fit.spread, fit.seen)
    assert again.ends("megatron", "Hopper", experts=False) == (-0.1, 0.2)
    assert again.ends("megatron", "Hopper", experts=True) is None


# the fit ------------------------------------------------------------------------------------------------------------------


def steps(truth: dict[str, float], noise: float = 0.0, count: int = 60) -> list[Step]:
    random = np.random.default_rng(0)
    made = []
    for i in range(count):
        share = random.uniform(0.2, 0.8)
        shares = {("product", "forward"): share, ("stream", ""): 1 - share}
        target = sum(s * truth[name] for (name, _), s in shares.items()) + noise * random.standard_normal()
        key = {"stack": "s", "architecture": "a", "device": "d", "format": "bf16"}
        made.append(Step(target, 0.0, shares, key, f"g{i % 6}"))
    return made


def test_the_fit_finds_factors_that_explain_all() -> None:
    error = left_out(steps({"product": 0.2, "stream": -0.1}), [f"g{i % 6}" for i in range(60)], EMPTY)
    assert np.max(np.abs(error)) < 0.01


def test_the_fit_learns_nothing_from_nothing() -> None:
    keys, widths, matrix = columns_of(steps({"product": 0.0, "stream": 0.0}))
    assert np.allclose(solve(matrix, widths, np.zeros(60), np.ones(60)), 0.0)
    assert len(keys) == widths.size


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=30))
def test_ends_hold_zero(values: list[float]) -> None:
    low, high = ends_of(np.array(values), [str(i) for i in range(len(values))])
    assert low <= 0 <= high


# what it needed of graphs -------------------------------------------------------------------------------------------------


def test_frozen_weights_have_no_gradients() -> None:
    graph = rewrite(load_graph("llama-3.2-1b", (), "bf16"), "frozen")
    trained = differentiate(graph)
    fns = [op.fn for _, op in trained.ops()]
    assert "linear_dgrad" in fns
    assert "linear_wgrad" not in fns
    assert rewrite(graph, "frozen") is graph


def test_recomputation_by_operator_lies_between_none_and_full() -> None:
    graph = load_graph("llama-3.2-1b", (), "bf16")
    again = {
        kind: sum(
            1
            for _, op in differentiate(graph, recompute=kind).ops()
            if op.attrs.get("recompute") and op.kind == "matmul"
        )
        for kind in ("none", "operators", "full")
    }
    products = sum(1 for b, op in graph.ops() if op.kind == "matmul" and b.count.constant != 1)
    assert again == {"none": 0, "operators": products // 2, "full": products}
    assert not any(
        op.kind == "attention" and op.attrs.get("recompute")
        for _, op in differentiate(graph, recompute="operators").ops()
    )


def test_a_loss_in_fp32_widens_the_logits_once() -> None:
    graph = load_graph("llama-3.2-1b", (), "bf16")
    wide = rewrite(graph, "loss_in_fp32")
    loss = next(op for _, op in wide.ops() if op.fn == "cross_entropy")
    assert wide.tensor(wide.blocks[-1], loss.reads[0].tensor).dtype == "fp32"
    assert sum(op.fn == "cast" for _, op in wide.ops()) == 1
    assert rewrite(wide, "loss_in_fp32") is wide


# data ---------------------------------------------------------------------------------------------------------------------

TABLE = DATA / "published" / "training.csv"


@pytest.mark.data
@pytest.mark.skipif(not TABLE.is_file(), reason=f"needs {TABLE}")
def test_a_share_of_the_table_is_predicted_well(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from speedlight.validation.validate import validate

    lines = TABLE.read_text(encoding="utf-8").splitlines()
    path = tmp_path / "training.csv"
    path.write_text("\n".join([lines[0], *lines[1::12]]) + "\n", encoding="utf-8")
    report = validate(path)
    assert report["coverage"] > 0.97
    assert report["metrics"]["iteration_time_s"]["median_ape"] < 0.12
    below = [b for b in report["below_limit"] if b["column"] == "iteration_time_s"]
    assert (
        len(below) <= 2
    )  # experts over several boxes: a token is sent once for each expert (studies/2026-11-training.md)
