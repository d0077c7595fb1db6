"""Traps of kernels, fusion and compilers in the literature (DESIGN, "Traps already found"), and what this area's verdicts rest on."""

from __future__ import annotations

import pytest

from speedlight.evidence.literature import CHECKED, papers
from speedlight.hardware.catalogue import load_machine
from speedlight.validation.ledger.bench import Bench
from speedlight.validation.ledger.kernels import attention, faster, kernel, of_peak, ops
from speedlight.validation.ledger.ledger import ledger
from speedlight.validation.ledger.papers.kernel.marlin import _last, _layer
from speedlight.validation.ledger.registry import derivations

KINDS = ("kernel", "compiler-codegen", "fusion-merging")


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench()


def test_a_cut_of_bytes_is_a_gain_of_one_over_what_is_left(bench: Bench) -> None:
    """22.91 % fewer bytes of a layer bound by memory are 1.30 times its rate; 1.19 of a whole means 69 % of it is such layers."""
    size = 2**28
    kept = 1 - 0.2291
    whole, less = (
        kernel(bench, "a copy", ops(("copy", {"elements": int(size * s)})), "v100-sxm2-16gb", stack="ideal")
        for s in (1.0, kept)
    )
    assert faster(whole, less).value == pytest.approx(1 / kept, rel=1e-4)
    assert round(1 / kept, 2) == 1.30
    share = (1 - 1 / 1.19) / (1 - 1 / 1.30)
    assert share == pytest.approx(0.69, abs=0.005)


def test_a_peak_has_an_accumulator() -> None:
    """156 TFLOP/s of an RTX 4090 are 94 % of its fp32-accumulate peak, 47 % of its fp16-accumulate peak."""
    engine = load_machine("rtx-4090", None).engine
    wide, narrow = (float(engine.peak("matmul", "fp16", a)[0].flops) for a in ("fp32", "fp16"))
    assert 156e12 / wide == pytest.approx(0.94, abs=0.01)
    assert 156e12 / narrow == pytest.approx(0.47, abs=0.01)


def test_equal_bytes_in_different_kernels_are_no_gain_of_bytes(bench: Bench) -> None:
    """LUT-GEMM's 2.1 at the same 3 bits: bytes alone say 1.0, and the ledger calls what is left kernel quality."""
    source = ops(("gemm", {"m": 1, "n": 12288, "k": 49152, "weights": "int3"}))
    one, other = (kernel(bench, "a layer", source, "a100-sxm-80gb", stack="ideal") for _ in range(2))
    assert faster(one, other).value == 1.0
    (claim,) = [c for e in ledger(["lut-gemm"], bench=bench) for c in e.claims if c.claim.id == "lut-gemm#1"]
    assert claim.found is not None
    assert "quality" in claim.found.why
    assert claim.verdict.word != "reproduced"


def test_the_knee_of_narrow_weights_is_the_gpus(bench: Bench) -> None:
    """The plain roofline's 3.88 holds up to some 39 tokens on A100 and 53 on A10, then decays."""
    for gpu in ("a100-sxm-80gb", "a10"):
        assert _layer(bench, gpu, 1).value == pytest.approx(3.88, abs=0.01)
        assert _layer(bench, gpu, 256).value < 2
    assert _last(bench, "a100-sxm-80gb", 3.5) == 32
    assert _layer(bench, "a10", 64).value > 1.2 * _layer(bench, "a100-sxm-80gb", 64).value  # its ridge lies higher


@pytest.mark.parametrize(("width", "share"), [(64, 57), (128, 73)])
def test_a_fused_kernels_share_of_the_peak_follows_from_three_rates(bench: Bench, width: int, share: int) -> None:
    """FlashAttention-2 on A100: 50 to 73 % of the peak, by the width of a head."""
    source = attention(8, 2048, 2048 // width, width)
    answer = kernel(bench, "attention", source, "a100-sxm-80gb", ["flash-attention-2"], stack="ideal")
    assert of_peak(answer, 312e12).value == pytest.approx(share, abs=1)


def test_three_passes_over_two_is_four_thirds(bench: Bench) -> None:
    source = ops(("normalize_rows", {"rows": 1, "width": 2**28, "fn": "softmax"}), dtype="fp32")
    three, two = (
        kernel(bench, "softmax", source, "xeon-platinum-8280", [f"{n}-pass-softmax"], stack="torch-eager")
        for n in ("three", "two")
    )
    assert three.bytes / two.bytes == pytest.approx(4 / 3, rel=0.01)


def test_idle_units_are_what_split_contexts_win(bench: Bench) -> None:
    """The gain of dealing a decode step's context out falls as heads × sequences approach the units, and never turns to loss."""

    def gain(heads: int, seqs: int) -> float:
        source = attention(seqs, 1, heads, 128, keys=131072)
        one, other = (
            kernel(bench, "decode", source, "a100-sxm-80gb", [t], stack="ideal")
            for t in ("unsplit-decode-attention", "lean-attention")
        )
        return faster(one, other).value

    found = [gain(8, 1), gain(16, 1), gain(32, 1), gain(32, 4)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 8
    assert 1.0 <= found[-1] < 1.2


# This area's verdicts: what the whole ledger is held to (test_ledger.py) ----------------------------------------------------


def test_every_claim_has_a_derivation_or_says_why_not() -> None:
    for p in papers():
        if p.kind in KINDS:
            for c in p.claims:
                if c.sort in CHECKED:
                    assert (c.id in derivations()) != bool(c.outside), c.id


@pytest.mark.slow
def test_no_derivation_is_refused(bench: Bench) -> None:
    entries = ledger([p.id for p in papers() if p.kind in KINDS], bench=bench)
    refused = [c.claim.id for e in entries for c in e.claims if c.claim.id in derivations() and c.found is None]
    assert not refused
