"""Latent attention by kernel: which form, in which format, with what beside it."""

from __future__ import annotations

import numpy as np
import pytest

from speedlight.costs.families.latent import (
    ABSORBED,
    TRITON,
    cached_in,
    decode_view,
    fixed_splits,
    key,
    prefill_code,
    prefill_view,
)
from speedlight.hardware.catalogue import load_machine

H100, A100, RTX, B200 = "h100-sxm-80gb", "a100-sxm-80gb", "rtx-pro-6000-server", "b200"


@pytest.mark.parametrize(
    ("kernel", "framework", "machine", "code"),
    [
        ("flash_attention", "sglang", H100, ABSORBED),
        ("triton", "sglang", RTX, TRITON),
        ("trtllm_mla", "sglang", B200, ""),
        ("default", "trtllm", RTX, ""),
        ("vllm_triton_mla", "vllm", A100, ""),
        ("", "sglang", H100, ABSORBED),
        ("", "sglang", RTX, TRITON),
        ("", "sglang", B200, ""),
        ("", "trtllm", H100, ""),
    ],
)
def test_sglangs_own_kernels_attend_to_prompts_in_the_absorbed_form(kernel, framework, machine, code):
    assert prefill_code(kernel, framework, load_machine(machine)) == code


def test_forms_multiply_what_their_widths_say_and_share_a_limit():
    """Times of H100 and RTX rows imply 3.4 and 6.8 times the expanded form's FLOPs (studies/2026-11-strangers.md)."""
    machine = load_machine(H100)
    views = [prefill_view(4.0, 16.0, 4096.0, 0.0, "bfloat16", machine, code) for code in ("", ABSORBED, TRITON)]
    expanded, absorbed, masked = (float(v.terms["matmul"]) for v in views)
    assert absorbed / expanded == pytest.approx((576 + 512) / (192 + 128))
    assert masked / absorbed == pytest.approx(2.0, rel=1e-3)
    assert len({float(v.limit) for v in views}) == 1
    assert expanded >= float(views[0].limit) * (1.0 - 1e-9)


def test_a_prompts_products_are_16_bit_whatever_the_cache():
    machine = load_machine(B200)
    wide, narrow = (prefill_view(4.0, 16.0, 4096.0, 0.0, stored, machine) for stored in ("bfloat16", "fp8"))
    assert float(wide.terms["matmul"]) == float(narrow.terms["matmul"])
    assert float(narrow.limit) < float(wide.limit)  # some kernels may yet multiply fp8


@pytest.mark.parametrize(("machine", "stored"), [(A100, "bfloat16"), (RTX, "fp8"), (H100, "fp8")])
def test_an_fp8_cache_is_16_bit_where_no_unit_multiplies_fp8(machine, stored):
    own = load_machine(machine)
    assert cached_in("fp8", own) == stored
    assert cached_in("bfloat16", own) == "bfloat16"
    cls = {"framework": "trtllm", "version": "1.0.0", "kv_cache_dtype": "fp8", "kernel_source": "default"}
    assert key(cls, own)["format"] == stored


@pytest.mark.parametrize(
    ("kernel", "framework", "machine", "splits"),
    [
        ("triton", "sglang", RTX, 8.0),
        ("vllm_triton_mla", "vllm", A100, 4.0),
        ("flash_attention", "sglang", H100, 0.0),
        ("default", "trtllm", RTX, 0.0),
        ("", "sglang", RTX, 8.0),
        ("", "vllm", H100, 0.0),
        ("", "trtllm", A100, 0.0),
    ],
)
def test_whose_sequences_are_split_however_short(kernel, framework, machine, splits):
    assert fixed_splits(kernel, framework, load_machine(machine)) == splits


def test_partial_sums_grow_with_heads_and_sequences_and_not_with_their_length():
    machine = load_machine(RTX)
    views = [
        decode_view(
            np.asarray([64.0, 128.0, 64.0]), np.asarray([64.0, 64.0, 128.0]), length, "bfloat16", machine, splits=8.0
        )
        for length in (1.0, 4096.0)
    ]
    first, later = (v.terms["partials"] for v in views)
    assert np.array_equal(first, later)
    assert first[1:] == pytest.approx(2.0 * first[0])
    assert first[0] == pytest.approx(64 * 64 * 8 * 513 * 4 * 2 / machine.main.bandwidth)
    assert float(decode_view(64.0, 64.0, 1.0, "bfloat16", machine).terms["partials"]) == 0.0
