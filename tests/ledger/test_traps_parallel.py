"""Traps of the literature on parallelism and communication (DESIGN): each is arithmetic that a careless model gets wrong."""

from __future__ import annotations

import pytest

from speedlight.engine.predict import predict
from speedlight.engine.questions.question import make_scenario
from speedlight.evidence.literature import paper
from speedlight.hardware.catalogue import load_machine
from speedlight.validation.ledger.bench import Bench, Perturbation
from speedlight.validation.ledger.ledger import Entry
from speedlight.validation.ledger.ledger import entry as derived
from speedlight.validation.ledger.registry import derivations

PETA = 1e15


BENCH = Bench()


def entry(claim: str, bench: Bench = BENCH) -> Entry:
    stated = next(c for c in paper(claim.partition("#")[0]).claims if c.id == claim)
    return derived(stated, derivations(), bench)


def test_a_million_tokens_of_a_ring_are_half_of_the_published_peak() -> None:
    """4.94e18 FLOPs causal over 77 s on 128 H100 are 50.7 % of 989 TFLOP/s; the quoted 63 % is of a peak near 795."""
    asked = make_scenario("llama-3.1-405b", "dgx-h100x16", phase="prefill", batch=1, isl=10**6, tp=8, cp=16)
    answer = predict(asked, details=False)
    assert float(answer.flops) == pytest.approx(4.94e18, rel=0.01)
    assert float(answer.flops_dense) == pytest.approx(2 * 4.13e18 + 0.81e18, rel=0.02)
    achieved = float(answer.flops) / 77 / 128
    assert achieved / 989.4e12 == pytest.approx(0.507, abs=0.004)
    assert achieved / 0.63 == pytest.approx(795e12, rel=0.01)


def test_context_parallelism_divides_the_work_and_not_more() -> None:
    whole, ring, gathered, heads = (
        predict(make_scenario("llama-3.1-8b", "dgx-h100", phase="prefill", batch=1, isl=32768, cp=cp, context_kind=kind), details=False)
        for cp, kind in ((1, "ring"), (8, "ring"), (8, "gather"), (8, "ulysses"))
    )  # fmt: skip
    for divided in (ring, gathered, heads):
        assert float(divided.flops) == pytest.approx(float(whole.flops), rel=1e-4)  # of all devices together
        assert float(whole.time) / 8 < float(divided.time) < float(whole.time)
        assert float(divided.memory.by_class["kv"]) == float(whole.memory.by_class["kv"]) / 8
    assert float(ring.time) <= float(gathered.time)  # keys and values go round under attention


def test_frontiers_percentages_are_of_half_a_card() -> None:
    machine = load_machine("frontier-full", None)
    peak = machine.engine.peak("matmul", "bf16", None)[0].flops
    assert peak == pytest.approx(191.5e12)
    found = entry("optimizing-distributed-training-on-frontier-for-large-langua#4").found
    assert found is not None
    assert found.low < 38.38 < found.high  # of a whole card's 383 it would be twice as much


def test_a_trillion_parameters_on_3072_devices() -> None:
    """163 TFLOP/s each are 52 %; 502 PFLOP/s together; interleaving gains about 10 %."""
    assert 163e12 / load_machine("selene", None).engine.peak("matmul", "bf16", None)[0].flops == pytest.approx(
        0.52, abs=0.005
    )
    megatron = "efficient-large-scale-language-model-training-on-gpu-cluster"
    aggregate, share = entry(f"{megatron}#3"), entry(f"{megatron}#5")
    assert aggregate.found is not None
    assert share.found is not None
    assert aggregate.found.value == pytest.approx(502, rel=0.15)
    assert share.found.value / 100 * 312e12 * 3072 == pytest.approx(aggregate.found.value * PETA, rel=1e-6)
    gain = entry(f"{megatron}#1").found
    assert gain is not None
    assert gain.low < 10 < gain.high <= gain.bound


def test_six_n_d() -> None:
    found = entry("optimizing-distributed-training-on-frontier-for-large-langua#1").found
    assert found is not None
    assert found.value * 1e6 * 1e18 == pytest.approx(1.2e26)


@pytest.mark.slow
def test_patches_are_not_capped_at_the_number_of_devices_by_decree() -> None:
    """Speed-ups follow from the work of a strip: below the devices where strips get thin, and nothing caps them."""
    found = entry("distrifusion#1").found
    assert found is not None
    assert found.low < found.value < found.high
    assert found.bound is not None
    assert found.bound > 8


def test_half_the_links_move_what_rests_on_links() -> None:
    slow = Bench(Perturbation(links=0.5))
    for claim in (
        "1-bit-adam#3",
        "tp-aware-dequantization#1",
        "8-bit-approximations-for-parallelism-in-deep-learning#1",
    ):
        before, after = entry(claim).found, entry(claim, slow).found
        assert before is not None
        assert after is not None
        assert after.value > before.value, claim  # messages weigh more, so what saves them gains more
