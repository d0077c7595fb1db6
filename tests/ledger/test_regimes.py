"""Contradictory statements about bottlenecks each hold in their regime."""

from __future__ import annotations

from speedlight.validation.regimes import CLASSES, regimes


def test_what_binds_decoding_turns_with_batch_and_context() -> None:
    points = {
        (p.batch, p.length): p
        for p in regimes("llama-3.1-8b", "h100-sxm-80gb", "decode", (1, 32), (512, 4096, 1 << 18))
    }
    assert points[1, 512].most == "weights"
    assert points[32, 4096].most == "kv"
    assert points[32, 1 << 18].most is None  # does not fit
    for p in points.values():
        assert abs(sum(p.shares.values()) - 1) < 1e-9
        assert set(p.shares) <= set(CLASSES)


def test_what_binds_prefill_turns_with_length() -> None:
    short, long = regimes("llama-3.1-8b", "h200-sxm-141gb", "prefill", (1,), (2048, 1 << 17))
    assert (short.most, long.most) == ("products", "scores")
