"""Traps of papers on serving: weak baselines named, memory-bound batches, shares and bounds that no overlap passes, nothing cheap."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

import speedlight
from speedlight.evidence.literature import paper
from speedlight.validation.ledger.bench import Bench, Perturbation
from speedlight.validation.ledger.ledger import Entry, ledger
from speedlight.validation.ledger.verdicts import verdict

# Derivations that ask the engine for single steps only: quick.
QUICK = (
    "nanoflow", "punica", "tpi-llm", "waferllm", "energonai", "efficient-llm-inference-solution-on-intel-gpu", "fastswitch",
    "characterizing-and-efficiently-accelerating-multimodal-gener", "deepspeed-inference", "melting-point",
    "characterizing-and-optimizing-llm-inference-workloads-on-cpu", "ai-and-memory-wall", "flexllm",
    "understanding-gemm-performance-and-energy-on-nvidia-ada-love", "the-i-o-complexity-of-attention-or-how-optimal-is-flash-atte",
)  # fmt: skip


@pytest.fixture(scope="module")
def entries() -> dict[str, Entry]:
    return {c.claim.id: c for p in ledger(QUICK) for c in p.claims if c.found is not None}


def test_a_weak_baseline_is_named(entries: dict[str, Entry]) -> None:
    """Gains over eager code are mostly its host's: the derivation has to say so."""
    for name in (
        "efficient-llm-inference-solution-on-intel-gpu#1", "characterizing-and-efficiently-accelerating-multimodal-gener#1",
        "deepspeed-inference#1",
    ):  # fmt: skip
        found = entries[name].found
        assert found is not None
        assert "weak baseline" in found.why
        assert not found.stated


def test_the_weak_baseline_waits_for_its_host() -> None:
    eager, fused = (
        speedlight.explain("llama-2-7b", "a100-sxm-80gb", phase="decode", batch=1, context=128, stack=s)
        for s in ("transformers-generate", "vllm")
    )
    assert eager.bound == "launch"
    assert float(eager.time) == pytest.approx(1 / 25.5, rel=0.05)  # what its host time was read from
    assert fused.bound == "hbm"


def test_small_models_stay_bound_by_memory_however_large_the_batch() -> None:
    """Each sequence's keys and values are read: throughput flattens, and not at the ridge of the products."""
    rates = []
    for batch in (1, 32, 256, 512):
        step = speedlight.explain("opt-1.3b", "h100-sxm-80gb", phase="decode", batch=batch, context=1024)
        assert step.bound == "hbm"
        rates.append(float(step.throughput["value"]))
    assert rates[3] / rates[2] < 1.3 < rates[1] / rates[0]


def test_overlap_gains_no_more_than_there_are_resources() -> None:
    """Kernels that wait for products, memory or links, one at a time: side by side three times as fast at best."""
    for batch in (64, 512, 1024):
        asked = {"phase": "decode", "batch": batch, "context": 1024, "tp": 8}
        before, after = (
            speedlight.explain("llama-2-70b", "dgx-a100-80gb", techniques=t, **asked)
            for t in ((), ("nano-batch-overlap",))
        )
        assert float(before.time / after.time) < 3.0
        assert float(after.mfu or 0) < 1.0


def test_a_claim_three_times_as_large_mostly_falls(entries: dict[str, Entry]) -> None:
    met = [e for e in entries.values() if e.verdict.word in ("reproduced", "bounded") and e.claim.form != "order"]
    fallen = []
    for e in met:
        ends = e.claim.ends
        assert ends is not None
        assert e.found is not None
        tripled = msgspec.structs.replace(e.claim, claimed=(3 * ends[0], 3 * ends[1]))
        fallen.append(verdict(tripled, e.found).word not in ("reproduced", "bounded"))
    assert len(met) >= 15
    assert np.mean(fallen) >= 0.8


def test_findings_move_with_what_the_engine_is_given(entries: dict[str, Entry]) -> None:
    bent = Bench(Perturbation(bandwidth=2.0, peaks=0.5, links=0.5, sizes=1.3))
    other = {c.claim.id: c for p in ledger(QUICK, bench=bent) for c in p.claims if c.found is not None}
    moved = [
        abs(other[name].found.value / e.found.value - 1) > 1e-6  # type: ignore[union-attr]
        for name, e in entries.items()
        if name in other and e.found is not None
    ]
    assert np.mean(moved) > 0.7


def test_prediction_errors_of_others_are_quoted() -> None:
    for name in (
        "analyzing-modern-nvidia-gpu-cores",
        "understanding-gemm-performance-and-energy-on-nvidia-ada-love",
        "moe-lens",
    ):
        quoted = [c for c in paper(name).claims if c.sort == "quality"]
        assert quoted
        assert all("error" in c.outside for c in quoted)
