"""What a fit says of a card that it has not seen: terms that are counted exactly hold where rates leave them open, and it runs
what other cards with its matrix instructions run."""

from __future__ import annotations

import numpy as np
import pytest

from speedlight.costs.calibration.blocks import Axis, Block
from speedlight.costs.calibration.naming import field_of, implementation
from speedlight.costs.refit.solve import HELD, Data, forward, gauss_newton, held

from .rows import chosen, row

ONE = Block("memory", (Axis("one", 0, 1),))
TERMS = ("memory", "stream")


def test_held_makes_the_named_terms_firm_and_no_block_softer():
    blocks = (ONE, Block("stream", (Axis("one", 0, 1),), ridge=0.1), Block("memory", (Axis("one", 0, 1),), ridge=1e4))
    assert [b.ridge for b in held(blocks, ("memory",))] == [HELD, 0.1, 1e4]
    assert held(blocks, ()) == blocks


def stream_bound_cards(rows: int = 400) -> Data:
    """Cards whose units bind, at twice the seconds counted, while main memory would have done it in half the time."""
    amount = np.exp(np.random.default_rng(0).uniform(0.0, 6.0, rows))
    zero = np.zeros(rows, dtype=np.int32)
    return Data(
        {"memory": amount * 1.9e-6, "stream": amount * 2e-6}, {"one": np.zeros(rows)}, {"device": zero}, {"device": ("a",)},
        amount * 4e-6, np.ones(rows),
    )  # fmt: skip


@pytest.mark.parametrize(("firm", "expected"), [(("memory",), 1.0), ((), None)])
def test_a_card_with_less_bandwidth_gets_its_own_bandwidth(firm, expected):
    """Both terms grow with the bytes: only what is held says which of them is bent."""
    blocks = (ONE, Block("stream", (Axis("one", 0, 1),)))
    data = stream_bound_cards()
    fitted = gauss_newton(TERMS, (), 3.0, held(blocks, firm), data)
    bends = {f.block.term: np.asarray([f.tables[()][0]]) for f in fitted}
    told, _ = forward(TERMS, (), 3.0, {n: np.log(data.terms[n]) for n in TERMS}, bends)
    assert np.exp(told) == pytest.approx(data.measured, rel=0.02)  # the cards measured are right either way
    slow = {"memory": np.log([1.0]), "stream": np.log([0.1])}
    seconds = float(np.exp(forward(TERMS, (), 3.0, slow, bends)[0])[0])
    if expected is None:
        assert seconds > 1.4
    else:
        assert seconds == pytest.approx(expected, rel=0.03)


def experts(device: str, version: str, tokens: list[int]) -> np.ndarray:
    """Seconds of Marlin's int4 experts of Kimi-K2's shape in SGLang, experts' widths split over eight ranks."""
    return np.asarray([
        row(
            "moe", device=device, framework="sglang", version=version, moe_dtype="int4_wo", kernel_source="sglang_marlin_moe",
            num_tokens=n, hidden_size=7168, inter_size=2048, topk=8, num_experts=384, moe_tp_size=8, moe_ep_size=1,
            distribution="balanced",
        )
        for n in tokens
    ])  # fmt: skip


def test_a_card_never_measured_lies_among_those_measured():
    """An L40S has the clock of an RTX PRO 6000, and 0.54 times its bandwidth and 0.72 its peak; its floor was said to be twice any other."""
    tokens = [1, 16, 64, 1024]
    around = [experts("rtx-pro-6000-server", "0.5.14", tokens), experts("a100-sxm-80gb", "0.5.10", tokens)]
    own = experts("l40s", "0.5.14", tokens)
    assert (own < 2.0 * np.maximum(*around)).all()
    assert (own > np.minimum(*around)).all()
    assert own[2] / around[0][2] == pytest.approx(1597 / 864, rel=0.15)  # all experts' weights, once


@pytest.mark.parametrize(
    ("names", "driven"),
    [
        (("vllm_flash_attn", "vllm_flash_attn_fa2"), "mma.sync"),
        (("vllm_flash_attn", "vllm_flash_attn_fa3", "fa3", "flash_attention_v3"), "wgmma"),
        (("trtllm_mha", "vllm_flashinfer_trtllmdecode", "trtllm_mla"), "tcgen05"),
        (("vllm_fused_moe", "sglang_fused_moe_triton", "vllm_fp8moe_triton_tritonexperts"), "mma.sync"),
    ],
)
def test_one_code_under_several_names(names, driven):
    assert len({implementation(name, driven) for name in names}) == 1


def test_one_name_for_several_codes():
    """vLLM's attention on an Xe core is nobody's FlashAttention; its Triton kernel is not SGLang's."""
    kinds = ("Ampere-hbm", "Hopper-hbm", "Xe2-HPG-gddr")
    named = [{"kernel": "vllm_flash_attn", "architecture": kind} for kind in kinds]
    assert len({field_of(key, "implementation") for key in named}) == 3
    assert implementation("vllm_triton_attn") != implementation("triton")


DECODE = {
    "batch_size": 8,
    "isl": 1,
    "step": 4096,
    "beam_width": 1,
    "window_size": 0,
    "num_heads": 32,
    "num_key_value_heads": 8,
}
HEADS = {"head_dim": 128, "attn_dtype": "bfloat16", "kv_cache_dtype": "bfloat16"}


@pytest.mark.parametrize("device", ["l40s", "rtx-4090", "a40"])
@pytest.mark.parametrize("framework", ["vllm", "sglang"])
def test_a_card_never_measured_runs_no_kernel_of_instructions_it_lacks(device, framework):
    """Most cards measured are Hopper's and server Blackwell's, so a vote of all of them named theirs."""
    kernel = chosen("attention_decode", device=device, framework=framework, **DECODE, **HEADS)
    assert implementation(kernel, "mma.sync") in ("flash-attention-2", "flashinfer", "triton", "flash_attention")
    newer = chosen("attention_decode", device="h20-sxm-96gb", framework=framework, **DECODE, **HEADS)
    assert implementation(newer, "wgmma") == "flash-attention-3"


def convolved(version: str, batch: int) -> float:
    """Seconds of SGLang's convolution of prompts of one token on a card never measured."""
    return row(
        "gated_delta_net", device="l40s", framework="sglang", version=version, kernel_source="causal_conv1d_fn", phase="context",
        batch_size=batch, seq_len=1, num_k_heads=16, head_k_dim=128, num_v_heads=32, head_v_dim=128, d_conv=4,
    )  # fmt: skip


def test_a_launch_for_every_sequence_goes_with_the_version():
    """SGLang 0.5.10 was measured on an A100 alone, where 64 sequences of a token take 557 us and one 13 us; 0.5.14 takes 4 us for either."""
    assert 300e-6 < convolved("0.5.10", 64) < 1000e-6
    assert convolved("0.5.14", 64) < 20e-6
    assert convolved("0.5.10", 1) < 40e-6


def test_a_version_never_measured_launches_once_for_all_steps():
    """The launch a sequence is a prompt's: unbent, it made a step of 256 sequences 21 us where 14 are measured."""
    step = {"kernel_source": "causal_conv1d_update", "phase": "generation", "batch_size": 256, "seq_len": 1}
    sizes = {"num_k_heads": 16, "head_k_dim": 128, "num_v_heads": 32, "head_v_dim": 128, "d_conv": 4}
    known, unknown = (
        row("gated_delta_net", device="l40s", framework="sglang", version=v, **step, **sizes) for v in ("0.5.14", "9.9")
    )
    assert unknown == pytest.approx(known, rel=0.05)
