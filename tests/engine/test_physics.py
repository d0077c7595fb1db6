"""Answers physics gives: the cases the product was first asked for, worked by hand in each docstring."""

from __future__ import annotations

from pathlib import Path

import pytest

import speedlight
from speedlight.engine.predict import predict

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def bounds(p: speedlight.Prediction, kind: str) -> dict[str, float]:
    """Seconds of the rows of a kind, by bound."""
    found: dict[str, float] = {}
    for row in p.ops:
        if row.kind == kind:
            found[row.bound] = found.get(row.bound, 0.0) + row.time
    return found


def main_bound(p: speedlight.Prediction, kind: str) -> str:
    shares = bounds(p, kind)
    return max(shares, key=lambda k: shares[k])


def test_llama_decode_is_bound_by_reading_its_weights() -> None:
    """15.0 GB of weights (the embedding table is not read) over 3.35 TB/s = 4.48 ms; the cache adds its bytes."""
    p = speedlight.explain("llama-3.1-8b", "h100-sxm-80gb", phase="decode", dtype="bf16", context=1)
    read = (8_030_261_248 - 128_256 * 4096) * 2
    assert read == pytest.approx(15.0e9, rel=0.01)
    assert p.limit == pytest.approx(read / 3.35e12, rel=0.002)
    assert p.limit == pytest.approx(4.5e-3, rel=0.01)
    assert p.bound == "hbm"


def test_linear_layers_turn_compute_bound_at_the_ridge() -> None:
    """A weight of 2 bytes does 2 FLOPs a token: 989.4e12 / 3.35e12 = 295 tokens."""
    p = speedlight.explain("llama-3.1-8b", "h100-sxm-80gb", phase="decode")
    (crossing,) = [c for c in p.crossovers if c.of == "linear layers"]
    assert (crossing.before, crossing.after) == ("hbm", "matmul")
    assert crossing.at == pytest.approx(295, rel=0.01)


def test_a_prefill_of_2k_is_bound_by_the_matrix_unit() -> None:
    p = speedlight.explain("llama-3.1-8b", "h100-sxm-80gb", phase="prefill", isl=2048)
    assert p.bound == "matmul"
    linear = 2 * (p.model["active_params"] - 128_256 * 4096) * 2048
    assert p.limit == pytest.approx(p.flops / 989.4e12, rel=0.01)
    assert linear < p.flops < 1.1 * linear


def test_deepseek_v3_fits_eight_h200_in_fp8_and_not_in_bf16() -> None:
    """671e9 parameters: 671 GB in fp8 of 8 × 141 = 1,128 GB; twice that in bf16."""
    narrow = speedlight.explain("deepseek-v3", "dgx-h200", phase="decode", tp=8)
    assert narrow.model["params"] == pytest.approx(671e9, rel=0.01)
    assert narrow.model["weight_bytes"] == pytest.approx(671e9, rel=0.02)
    assert narrow.memory.capacity * 8 == 1128e9
    assert narrow.fits
    kinds = {row.kind for row in narrow.ops}
    assert {"moe", "attention", "collective"} <= kinds
    wide = speedlight.explain("deepseek-v3", "dgx-h200", phase="decode", tp=8, dtype="bf16")
    assert not wide.fits
    answer = speedlight.fit("deepseek-v3", "dgx-h200", phase="decode", tp=8, dtype="bf16")
    assert not answer["fits"]
    assert answer["by"] < 0
    assert any(lever["fits"] for lever in answer["levers"])


@pytest.mark.torch
def test_resnet_50_is_launch_bound_alone_and_memory_bound_in_its_norms_at_256() -> None:
    source = f"{EXAMPLES / 'resnet.py'}:resnet50"
    one = speedlight.explain(source, "rtx-4090", inputs=["1x3x224x224"])
    assert one.bound == "launch"
    many = speedlight.explain("resnet50", "rtx-4090", batch=256)  # the same network, carried
    assert main_bound(many, "norm") == "hbm"
    assert main_bound(many, "elementwise") == "hbm"
    wide = [r for r in many.ops if r.kind == "conv" and r.path.endswith("conv2")]  # the bottlenecks' 3×3
    assert wide
    # 1,152 FLOPs for 8 bytes with 64 channels: near the ridge of TF32 (82) where images are read about twice; beyond it later on.
    assert {r.bound for r in wide if not r.path.startswith(("layer1", "layer2.0"))} == {"matmul"}
    spent = bounds(many, "conv")
    assert max(spent, key=lambda name: spent[name]) in ("matmul", "hbm")


@pytest.mark.torch
def test_a_vision_transformer_runs_on_a_consumer_card() -> None:
    p = speedlight.explain(f"{EXAMPLES / 'vit.py'}:vit_b_16", "rtx-4090", inputs=["64x3x224x224"])
    assert p.model["params"] == 86_567_656  # ViT-B/16 with a 1000-way head (arXiv 2010.11929; torchvision's count)
    assert p.flops == pytest.approx(64 * 2 * 17.56e9, rel=0.03)  # 17.56 GMACs an image, torchvision
    assert p.bound in ("matmul", "vector")


def test_training_gpt2_xl_keeps_sixteen_bytes_a_parameter() -> None:
    """bf16 weights and gradients (2 + 2) and fp32 master, momentum and variance (4 + 4 + 4): 16 · 1.56e9 = 25 GB."""
    p = speedlight.explain("gpt2-xl", "a100-sxm-80gb", phase="train", batch=8, isl=1024, dtype="bf16")
    states = sum(p.memory.by_class[k] for k in ("weights", "gradients", "optimizer"))
    assert states == pytest.approx(16 * p.model["params"], rel=0.001)
    assert states == pytest.approx(25e9, rel=0.01)
    assert p.memory.by_class["activations"] > 1e9
    assert p.flops == pytest.approx(6 * p.model["params"] * 8 * 1024, rel=0.15)  # 6 N D and attention


def test_bert_large_runs_on_a_desktop_cpu() -> None:
    p = speedlight.explain("bert-large", "i9-10940x", batch=1, isl=384)
    assert p.phase == "forward"
    assert p.time > p.flops / 3e12  # fourteen cores of AVX-512 reach no 3 TFLOP/s
    assert p.bound in ("matmul", "vector", "host_dram")


def test_qwen3_32b_on_a_laptop_reads_its_weights_at_400_gigabytes_a_second() -> None:
    """65.5 GB over 400 GB/s: about 160 ms a token."""
    p = speedlight.explain("qwen3-32b", "apple-m3-max-40c-128gb", phase="decode", dtype="bf16")
    assert p.model["weight_bytes"] == pytest.approx(65.5e9, rel=0.005)
    assert p.bound == "hbm"
    assert p.time == pytest.approx(0.160, rel=0.05)
    assert p.stack.startswith("llama.cpp")


def test_a_power_limit_slows_compute_and_leaves_the_limit_alone() -> None:
    free = speedlight.explain("llama-3.1-8b", "h100-sxm-80gb", phase="prefill", isl=4096)
    capped = speedlight.explain("llama-3.1-8b", "h100-sxm-80gb", phase="prefill", isl=4096, power=350)
    assert capped.limit == free.limit
    assert capped.time == pytest.approx(free.time * 2 ** (1 / 3), rel=0.05)


def test_an_rtx_4090_at_156_teraflops_is_94_percent_of_one_peak_and_47_of_the_other() -> None:
    """DESIGN's trap: fp32 accumulation halves a GeForce's rate."""
    engine = speedlight.machine("rtx-4090").engine
    wide, _ = engine.peak("matmul", "fp16", "fp32")
    narrow, _ = engine.peak("matmul", "fp16", "fp16")
    assert 156e12 / wide.flops == pytest.approx(0.94, abs=0.01)
    assert 156e12 / narrow.flops == pytest.approx(0.47, abs=0.01)


def test_million_token_cache_of_llama_3_8b_is_128_gib() -> None:
    """HeadInfer (arXiv 2502.12574): 131,072 bytes a token, 2^20 tokens."""
    answer = speedlight.fit("llama-3-8b", "b300-sxm-288gb", phase="decode", context=2**20 - 1)
    assert answer["memory"]["by_class"]["kv"] == 128 * 2**30


def test_sensitivities_agree_with_changing_the_machine() -> None:
    p = speedlight.explain("llama-3.1-8b", "h100-sxm-80gb", phase="decode")
    (bandwidth,) = [s for s in p.sensitivities if s.parameter == "memory bandwidth"]
    faster = speedlight.explain(
        "llama-3.1-8b", "h100-sxm-80gb", phase="decode", overrides={"tiers.hbm.bandwidth": 3.35e12 * 1.1}
    )
    assert bandwidth.gain == pytest.approx(p.time / faster.time - 1, rel=1e-6)


def test_generate_is_prefill_and_the_sum_of_its_decode_steps() -> None:
    whole = speedlight.explain("llama-3.1-8b", "h100-sxm-80gb", phase="generate", batch=8, isl=500, osl=60)
    base = speedlight.make_scenario("llama-3.1-8b", "h100-sxm-80gb", phase="decode", batch=8)
    steps = [predict(base.with_workload(context=500 + i), details=False).time for i in range(59)]
    prefill = speedlight.explain("llama-3.1-8b", "h100-sxm-80gb", phase="prefill", batch=8, isl=500)
    assert whole.ttft == pytest.approx(prefill.time)
    assert whole.time == pytest.approx(prefill.time + sum(steps), rel=1e-4)
    assert whole.tpot == pytest.approx(sum(steps) / 59, rel=1e-4)


def test_an_unknown_op_leaves_the_share_of_flops_unknown() -> None:
    from speedlight.engine.answers.summary import coverage
    from speedlight.engine.questions.resolve import planned, resolve
    from speedlight.engine.steps.phase import run_phase

    resolved = resolve(speedlight.make_scenario("bert-large", "rtx-4090", phase="forward"))
    made, dims = planned(resolved)
    parts = run_phase(resolved, made, dims)
    assert coverage(resolved.graph, parts).flops == 1.0
    strange = resolved.graph.replace(attrs={**resolved.graph.attrs, "unknown_ops": ("mystery",)})
    found = coverage(strange, parts)
    assert found.flops is None
    assert found.unknown == ("mystery",)
