"""Kernels of models as the fits see them: what a table's row says is what a model's kernel costs, and the laws hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import speedlight
from speedlight.costs.calibration.seen import framework_of
from speedlight.engine.predict import predict
from speedlight.engine.questions.resolve import planned, resolve
from speedlight.engine.steps.evaluate import PricedKernel
from speedlight.engine.steps.phase import run_phase
from speedlight.stacks.stack import load_stack

from .rows import row

GROWTH = 1 + 1e-9


def kernels(model: str, machine: str, **options: Any) -> list[PricedKernel]:
    """Every kernel of a question that runs, priced."""
    resolved = resolve(speedlight.make_scenario(model, machine, stack="vllm", **options))
    ((step, _, _),) = run_phase(resolved, *planned(resolved)).results
    return [k for _, _, found in step.blocks for k in found if np.any(k.count)]


def find(found: list[PricedKernel], fn: str, name: str = "") -> PricedKernel:
    return next(k for k in found if k.kernel.fn == fn and name in k.kernel.name)


H200 = {"device": "NVIDIA H200", "system": "h200_sxm"}


def test_an_all_reduce_is_the_engines_own() -> None:
    for batch in (1, 32, 4096):  # one shot, two shots, the library
        found = find(kernels("llama-3.1-70b", "dgx-h200", phase="decode", batch=batch, tp=8), "all_reduce", "o_proj")
        expected = row(
            "custom_allreduce", **H200, framework="vllm", allreduce_dtype="bfloat16", num_gpus=8, message_size=batch * 8192,
            backend="vllm_graph",
        )  # fmt: skip
        assert found.cost.time == pytest.approx(expected, rel=1e-9)
        assert found.cost.error_key == ("custom_allreduce", "h200-sxm-141gb", "known")


def test_an_all_gather_is_the_librarys() -> None:
    found = find(kernels("llama-3.1-70b", "dgx-h200", phase="decode", batch=32, tp=4), "all_gather")
    assert found.kernel.message is not None
    expected = row(
        "nccl", **H200, framework="nccl", op_name="all_gather", nccl_dtype="half", num_gpus=4, message_size=32 * 128256
    )
    assert found.cost.time == pytest.approx(expected, rel=1e-9)


def test_intel_sends_by_oneccl_and_other_vendors_are_not_measured() -> None:
    found = kernels("llama-3.1-8b", "arc-pro-b60", phase="decode", batch=8, tp=2)
    expected = row(
        "oneccl", device="Intel(R) Graphics [0xe211]", system="b60", framework="oneccl", op_name="all_reduce",
        nccl_dtype="half", num_gpus=2, message_size=8 * 4096,
    )  # fmt: skip
    assert find(found, "all_reduce").cost.time == pytest.approx(expected, rel=1e-9)
    amd = kernels("llama-3.1-8b", "hgx-mi300x", phase="decode", batch=8, tp=2)
    assert find(amd, "all_reduce").cost.layer == "analytic"


def test_latent_attention_is_its_tables_row_where_nothing_stays_in_a_cache() -> None:
    found = kernels("deepseek-v3", "dgx-h200", phase="decode", batch=256, context=16383, tp=1)
    expected = row(
        "mla_decode", **H200, framework="trtllm", kv_cache_dtype="bfloat16", num_heads=128, batch_size=256, step=16383
    )
    assert find(found, "mla").cost.time == pytest.approx(expected, rel=1e-9)
    fp8 = kernels("deepseek-v3", "dgx-h200", phase="decode", batch=256, context=16383, tp=1, kv="fp8")
    expected = row(
        "mla_decode", **H200, framework="trtllm", kv_cache_dtype="fp8", num_heads=128, batch_size=256, step=16383
    )
    assert find(fp8, "mla").cost.time == pytest.approx(expected, rel=1e-9)


def test_latent_attention_of_a_prompt_is_its_tables_row() -> None:
    found = kernels("deepseek-v3", "dgx-h200", phase="prefill", batch=2, isl=4096, tp=8)
    expected = row(
        "mla_prefill",
        **H200,
        framework="trtllm",
        kv_cache_dtype="bfloat16",
        num_heads=16,
        batch_size=2,
        isl=4096,
        step=0,
    )
    assert find(found, "mla").cost.time == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("name", "op"), [("absorb_q", "mla_gen_pre"), ("absorb_v", "mla_gen_post")])
def test_folded_products_are_their_tables_rows(name: str, op: str) -> None:
    found = find(kernels("deepseek-v3", "dgx-h200", phase="decode", batch=8192, context=1000, tp=1), "bmm", name)
    expected = row(
        "mla_bmm", **H200, framework="vllm", bmm_dtype="bfloat16", op_name=op, num_tokens=8192, num_heads=128
    )
    assert found.cost.time == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("phase", "fn"), [("decode", "causal_conv1d_update"), ("prefill", "causal_conv1d_fn")])
def test_a_delta_nets_kernels_are_their_tables_rows(phase: str, fn: str) -> None:
    decode = phase == "decode"
    batch, isl = (8192, 1) if decode else (2, 4096)  # in decoding, more than caches hold
    found = kernels("qwen3-next-80b-a3b", "dgx-h200", phase=phase, batch=batch, isl=isl, tp=1)
    shape = {
        "framework": "vllm", "phase": "generation" if decode else "context", "batch_size": batch, "seq_len": isl,
        "num_k_heads": 16, "num_v_heads": 32, "head_k_dim": 128, "head_v_dim": 128, "d_conv": 4,
    }  # fmt: skip
    convolution = row("gated_delta_net", **H200, **{**shape, "kernel_source": fn})
    assert find(found, "conv1d_depthwise").cost.time == pytest.approx(convolution, rel=1e-9)
    rule = "fused_recurrent_gated_delta_rule_packed_decode" if decode else "chunk_gated_delta_rule_flashinfer"
    recurrence = row("gated_delta_net", **H200, **{**shape, "kernel_source": rule})
    scan = find(found, "gated_delta")
    assert scan.cost.time == pytest.approx(recurrence, rel=1e-9)
    assert "linear_attn.qk_norm" in scan.kernel.members  # what the row covers is priced with it


def test_a_quantisation_is_its_tables_row() -> None:
    found = find(kernels("deepseek-v3", "dgx-h200", phase="decode", batch=64, tp=8), "quantize", "input_layernorm")
    expected = row(
        "quantize_scale_matrix", **H200, framework="vllm", quant_dtype="fp8", m=64, k=7168,
        kernel_source="static_scaled_fp8_quant",
    )  # fmt: skip
    assert found.cost.time == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("ep", [1, 2, 8])
def test_fused_experts_are_their_tables_row(ep: int) -> None:
    # Every expert has rows, as the balanced row says; not DeepSeek-V3, whose own rows lie under its rule of groups.
    tokens = 8192
    asked = kernels("kimi-k2", "dgx-h200", phase="decode", batch=tokens, context=16, tp=8, ep=ep)
    found = find(asked, "grouped_linear")
    expected = row(
        "moe", **H200, framework="vllm", moe_dtype="fp8_block", num_tokens=tokens, hidden_size=7168, inter_size=2048, topk=8,
        num_experts=384, moe_tp_size=8 // ep, moe_ep_size=ep, distribution="balanced",
    )  # fmt: skip
    assert found.cost.time == pytest.approx(expected, rel=1e-6)


def test_integer_experts_take_the_bytes_of_their_own_groups() -> None:
    """The table's are of groups of 32, 4.5 bits a weight; of 128 4.125: memory brings them in so much sooner, and nothing else changes."""
    asked = {w: kernels("kimi-k2", "dgx-h200", phase="decode", batch=256, context=16, tp=8, weights=w)
             for w in ("int4_g32", "int4_g64", "int4")}  # fmt: skip
    seconds = [float(find(asked[w], "grouped_linear").cost.time) for w in asked]
    expected = row(
        "moe", **H200, framework="vllm", moe_dtype="int4_wo", num_tokens=256, hidden_size=7168, inter_size=2048, topk=8,
        num_experts=384, moe_tp_size=8, moe_ep_size=1, distribution="balanced",
    )  # fmt: skip
    assert seconds[0] == pytest.approx(expected, rel=0.02)  # a model's picks leave an expert out now and then
    assert seconds[0] > seconds[1] > seconds[2] > seconds[0] * 4.125 / 4.5


def test_fused_experts_charge_no_part_twice_and_lose_none() -> None:
    one = kernels("deepseek-v3", "dgx-h200", phase="decode", batch=64, tp=8)
    inside = [k for k in one if any(".experts." in m for m in k.kernel.members)]
    assert len(inside) == 1
    members = inside[0].kernel.members
    for part in ("up_proj", "gate_proj", "act_fn", "mul", "down_proj", "quantize_fp8"):
        assert any(part in m for m in members), part
    assert any(m.endswith(".combine") for m in members)
    apart = [
        k
        for k in kernels_of("torch-eager")
        if any(".experts." in m or m.endswith(".combine") for m in k.kernel.members)
    ]
    work = sum(float(k.cost.flops * k.count) for k in apart)
    assert float(inside[0].cost.flops * inside[0].count) == pytest.approx(work, rel=1e-12)
    assert float(inside[0].cost.limit) <= sum(float(k.cost.limit) for k in apart)
    assert float(inside[0].cost.least["hbm"]) >= max(float(k.cost.least["hbm"]) for k in apart)


def kernels_of(stack: str) -> list[PricedKernel]:
    question = speedlight.make_scenario("deepseek-v3", "dgx-h200", phase="decode", batch=64, tp=8, stack=stack)
    resolved = resolve(question)
    ((step, _, _),) = run_phase(resolved, *planned(resolved)).results
    return [k for _, _, found in step.blocks for k in found if np.any(k.count)]


def test_what_no_table_measured_stays_analytic() -> None:
    sparse = kernels("deepseek-v3.2", "dgx-h200", phase="decode", batch=8, tp=8)
    assert find(sparse, "mla").cost.layer == "analytic"
    other = kernels("minicpm3-4b", "h200-sxm-141gb", phase="decode", batch=8)
    assert find(other, "mla").cost.layer == "analytic"
    assert find(kernels("mamba-2.8b", "h200-sxm-141gb", phase="decode"), "mamba1_scan").cost.layer == "analytic"


def test_the_most_particular_entry_of_a_library_counts() -> None:
    library = {"": "a", "fp8": "b", "moe": "c", "moe/fp8": "d"}
    assert [framework_of(library, *x) for x in (("moe", "fp8"), ("moe", "x"), ("gemm", "fp8"), ("gemm", "x"))] == [
        "d", "c", "b", "a",
    ]  # fmt: skip
    assert framework_of(load_stack("vllm").library, "mla_decode", "bfloat16") == "trtllm"


def test_a_stack_takes_no_kernels_it_does_not_name() -> None:
    """PyTorch op by op: its messages are NCCL's, not an engine's; experts and latent attention were not measured."""
    found = kernels_of("torch-eager")
    assert find(found, "all_reduce").cost.error_key[0] == "nccl"
    assert find(found, "linear").cost.layer == "calibrated"
    assert {find(found, fn).cost.layer for fn in ("mla", "grouped_linear", "quantize")} == {"analytic"}
    assert find(found, "bmm").cost.error_key[0] == "modules"  # as PyTorch ran it in networks of another Hopper


def test_answers_name_every_fit_and_whose_kernels_it_measured() -> None:
    p = speedlight.explain("deepseek-v3", "dgx-h200", phase="decode", batch=32, context=4096, tp=8)
    said = " ".join(str(a.value) for a in p.assumptions if a.what == "calibration")
    for fit in ("moe@", "gemm@", "mla_decode@", "custom_allreduce@", "quantize_scale_matrix@", "mla_bmm@", "nccl@"):
        assert fit in said, fit
    assert "by trtllm" in said
    alone = speedlight.explain("llama-3.1-8b", "h200-sxm-141gb", phase="decode")
    assert not any("custom_allreduce" in str(a.value) or "nccl" in str(a.value) for a in alone.assumptions)


CASES: dict[str, tuple[str, Mapping[str, Any]]] = {
    "llama-3.1-70b": ("dgx-h100", {"tp": 8}),
    "deepseek-v3": ("dgx-h200", {"tp": 8}),
    "qwen3-235b-a22b": ("dgx-b200", {"tp": 8, "ep": 4}),
    "qwen3-next-80b-a3b": ("dgx-h200", {"tp": 2}),
    "kimi-linear-48b-a3b": ("dgx-b200", {"tp": 4}),
    "nemotron-3-nano-30b-a3b-bf16": ("dgx-h100", {"tp": 2}),
    "gpt-oss-120b": ("dgx-b200", {"tp": 2}),
}


@pytest.mark.parametrize("phase", ["decode", "prefill"])
@pytest.mark.parametrize("model", CASES)
def test_parts_sum_to_the_whole_above_the_limit(model: str, phase: str) -> None:
    machine, options = CASES[model]
    p = speedlight.explain(model, machine, phase=phase, batch=16, isl=2048, **options)
    assert p.layer == "mixed"
    assert sum(o.time for o in p.ops) == pytest.approx(p.time, rel=1e-9)
    assert all(o.time >= o.limit * (1 - 1e-9) for o in p.ops)
    assert p.low <= p.time <= p.high


@pytest.mark.parametrize("phase", ["decode", "prefill"])
@pytest.mark.parametrize("model", CASES)
def test_a_faster_part_slows_nothing(model: str, phase: str) -> None:
    machine, options = CASES[model]
    for k in kernels(model, machine, phase=phase, batch=16, isl=2048, **options):
        assert k.cost.time > 0
    speed = np.array([1.0, 1.3, 2.0, 5.0])
    loaded = resolve(speedlight.make_scenario(model, machine, phase=phase)).machine
    for path, base in (
        (f"tiers.{loaded.main.name}.bandwidth", loaded.main.bandwidth),
        (f"domains.{loaded.domains[0].name}.bandwidth", loaded.domains[0].bandwidth),
    ):
        question = speedlight.make_scenario(
            model, machine, phase=phase, batch=16, isl=2048, overrides={path: base * speed}, **options
        )
        times = np.broadcast_to(predict(question).time, speed.shape)
        assert np.all(np.diff(times) <= times[:-1] * 1e-9), path


@pytest.mark.parametrize("phase", ["decode", "prefill"])
@pytest.mark.parametrize("model", CASES)
def test_a_sweep_is_its_points(model: str, phase: str) -> None:
    machine, options = CASES[model]
    batch, length = np.array([1.0, 7.0, 64.0, 300.0]), np.array([100.0, 2048.0, 5000.0, 64.0])
    together = predict(speedlight.make_scenario(model, machine, phase=phase, batch=batch, isl=length, **options))
    for i, (b, n) in enumerate(zip(batch.tolist(), length.tolist(), strict=True)):
        alone = speedlight.explain(model, machine, phase=phase, batch=b, isl=n, **options)
        for name in ("time", "limit", "low", "high"):
            assert getattr(together, name)[i] == pytest.approx(getattr(alone, name), rel=1e-9), name
