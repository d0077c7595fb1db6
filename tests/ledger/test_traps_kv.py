"""Traps of the literature about KV caches (DESIGN): capacity is not traffic, and bytes are exact."""

from __future__ import annotations

import pytest

from speedlight.engine.predict import predict
from speedlight.engine.questions.question import make_scenario
from speedlight.engine.questions.resolve import resolve
from speedlight.graph.stats import kv_bytes_per_token
from speedlight.scenario.scenario import Scenario
from speedlight.techniques.compose import ask, parsed
from speedlight.techniques.whatif import attribution
from speedlight.validation.ledger.ledger import ledger


def decode(model: str = "llama-2-13b", machine: str = "a100-sxm-80gb", **options: object) -> Scenario:
    return make_scenario(model, machine, phase="decode", **{"batch": 8, "context": 2048, **options})


def with_(scenario: Scenario, *labels: str) -> Scenario:
    return scenario.replace(techniques=tuple(parsed(label) for label in labels))


@pytest.mark.parametrize("layers", [0.25, 0.5])
def test_sharing_across_layers_frees_memory_and_reads_as_much(layers: float) -> None:
    before = predict(decode(), details=False)
    after = ask(with_(decode(), f"kv-layer-sharing:layers={layers}"), details=False)
    assert after.memory.by_class["kv"] == pytest.approx((1 - layers) * before.memory.by_class["kv"])
    projections = before.memory.by_class["weights"] - after.memory.by_class["weights"]
    assert before.bytes - after.bytes == pytest.approx(projections, rel=0.02)  # the cache is read as before
    assert before.time / after.time < 1.1


def test_54_percent_less_cache_is_2_2_times_the_batch() -> None:
    full, thin = (ask(with_(decode(), *t, "fill-memory"), details=False) for t in ((), ("kv-pyramid:share=0.46",)))
    batches = [float(a.scenario.program.workload.batch) for a in (full, thin)]
    assert batches[1] / batches[0] == pytest.approx(1 / (1 - 0.54), rel=0.03)
    assert 0.85 / 0.46 < thin.throughput["value"] / full.throughput["value"] < 1.1 / 0.46
    for answer in (full, thin):
        assert answer.fits
    one_more = thin.scenario.with_workload(batch=batches[1] + 1)
    assert not predict(one_more, details=False).fits


def test_what_capacity_is_worth_shows_in_the_composition() -> None:
    """Eviction alone changes what is read; with a full card also how many sequences there are."""
    shares, outcome, _ = attribution(decode(), ["kv-eviction:share=0.25", "fill-memory"])
    eviction = next(s for s in shares if s.name.startswith("kv-eviction"))
    assert eviction.last > 1.5 * eviction.alone
    assert outcome.gain is not None
    assert float(outcome.gain.speedup) == pytest.approx(shares[0].factor * shares[1].factor)


def test_headinfer_bytes() -> None:
    """Llama-3-8B at 2^20 tokens: 128 GiB of cache, two slices of a head 1 GiB."""
    graph = resolve(decode("llama-3.1-8b")).graph
    assert kv_bytes_per_token(graph) == 131_072
    tokens = 2**20
    kept = predict(decode("llama-3.1-8b", batch=1, context=tokens - 1), details=False).memory.by_class["kv"]
    assert kept == 128 * 2**30
    heads = graph.dims["kv_heads"].size * 32
    assert 2 * kept / heads == 2**30


@pytest.mark.slow
def test_the_ledger_has_no_gap_here() -> None:
    entries = ledger(kind="kv-cache") + ledger(kind="decoding")
    assert len(entries) == 32
    for entry in entries:
        checked = [c for c in entry.claims if c.claim.sort in ("performance", "memory", "work")]
        if entry.paper.checkable and checked:
            assert entry.status == "computed", entry.paper.id
        assert all(c.found is not None or c.claim.outside for c in checked), entry.paper.id
    judged = [c for e in entries for c in e.claims if c.found is not None and c.verdict.word is not None]
    good = [c for c in judged if c.verdict.word in ("reproduced", "bounded")]
    assert len(good) >= 0.6 * len(judged)
