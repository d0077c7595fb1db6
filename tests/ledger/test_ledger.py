"""The ledger as a whole: complete, derived (not typed), and not cheap."""

from __future__ import annotations

import json
import math

import pytest

from speedlight.evidence.literature import CHECKED, Claim, paper, paper_ids, papers
from speedlight.hardware.catalogue import machine_ids
from speedlight.techniques.technique import catalogue
from speedlight.validation.ledger.bench import Bench, Perturbation
from speedlight.validation.ledger.finding import Finding, Given, Span, over
from speedlight.validation.ledger.ledger import Entry, ledger, summary, to_dict
from speedlight.validation.ledger.registry import derivations
from speedlight.validation.ledger.verdicts import verdict


def test_every_paper_of_relevance_two_and_three_is_there() -> None:
    assert len(paper_ids()) == 350
    assert {p.relevance for p in papers()} == {2, 3}


def test_every_paper_is_read_and_what_covers_it_exists() -> None:
    known = set(catalogue())
    machines = set(machine_ids())
    unread = [p.id for p in papers() if p.reason == "not read yet"]
    assert not unread
    for p in papers():
        assert p.role != "claims-only" or p.reason, p.id
        assert p.role == "claims-only" or p.covers, p.id
        if p.role == "technique":
            assert set(p.covers) <= known, (p.id, set(p.covers) - known)
        if p.role == "machine":
            assert set(p.covers) <= machines | known, (p.id, set(p.covers) - machines)


def test_techniques_cite_papers_that_are_there() -> None:
    ids = set(paper_ids())
    stray = {t.name: set(t.papers) - ids for t in catalogue().values() if set(t.papers) - ids}
    assert not stray


def test_derivations_are_of_claims_that_are_there_and_to_be_checked() -> None:
    sorts = {c.id: c.sort for p in papers() for c in p.claims}
    wrong = {name: sorts.get(name) for name in derivations() if sorts.get(name) not in CHECKED}
    assert not wrong


def test_every_claim_to_be_checked_has_a_derivation_or_a_cause() -> None:
    known = derivations()
    bare = [c.id for p in papers() for c in p.claims if c.sort in CHECKED and c.id not in known and not c.outside]
    assert not bare


def test_a_withheld_figure_is_nowhere() -> None:
    for p in papers():
        if p.withheld:
            assert all(c.claimed is None for c in p.claims), p.id


CLAIM = Claim("x#1", "speed-up (x)", "performance", claimed=2.0)


def found(low: float, high: float, bound: float | None = None, *, stated: bool = True, capped: bool = False) -> Finding:
    inputs = (Given("batch", 8, "published" if stated else "unstated"),)
    return Finding(low, (low + high) / 2, high, bound, "", inputs, capped)


@pytest.mark.parametrize(
    ("finding", "word"),
    [
        (found(1.8, 2.1, 2.5), "reproduced"),
        (found(1.8, 2.1, 2.5, stated=False), "bounded"),
        (found(1.8, 2.1, 2.5, capped=True), "bounded"),
        (found(1.8, 2.1, 7.0, stated=False), "not checkable"),
        (found(0.1, 2.1, 2.5, stated=False), "not checkable"),
        (found(2.6, 3.1, 4.0), "headroom"),
        (found(1.2, 1.5, 1.7), "not explained"),
        (found(0.7, 0.9, 0.95), "contradicted"),
        (found(math.nan, 2.0), "not checkable"),
    ],
)
def test_verdicts(finding: Finding, word: str) -> None:
    assert verdict(CLAIM, finding).word == word


def test_forms() -> None:
    def of(form: str, low: float, high: float, better: str = "more", claimed: float = 2.0) -> str | None:
        return verdict(Claim("x#1", "speed-up (x)", "performance", form, claimed, better), found(low, high, high)).word  # type: ignore[arg-type]

    assert of("at_least", 2.5, 3.0) == "reproduced"
    assert of("at_least", 1.0, 1.5) == "not explained"
    assert of("at_least", 7.0, 9.0) == "headroom"
    assert of("up_to", 1.1, 2.3) == "reproduced"
    assert of("up_to", 1.1, 1.7) == "not explained"
    assert of("at_most", 1.0, 1.5, "less") == "reproduced"
    assert of("at_most", 2.5, 3.0, "less") == "not explained"
    assert of("law", 1.98, 2.02) == "reproduced"
    assert of("law", 0.98, 1.02) == "not explained"
    assert of("order", 1.1, 1.2) == "reproduced"
    assert of("order", 0.7, 0.9) == "contradicted"
    assert of("order", 0.9, 1.1) == "not explained"
    assert of("value", 3.0, 4.0, "none") == "not explained"
    assert verdict(Claim("x#1", "speed-up (x)", "performance"), found(1, 2)).word is None


def test_settings_together_take_the_extremes() -> None:
    both = over([Span(1.0, 1.5, 2.0, 3.0), Span(1.2, 1.8, 2.5, 2.6)], "both")
    assert (both.low, both.value, both.high, both.bound) == (1.0, 1.8, 2.5, 3.0)
    assert over([Span(1.0, 1.5, 2.0, 0.5), Span(1.2, 1.8, 2.5, 0.8)], "both", more=False).bound == 0.5
    assert Span(1.0, 2.0, 4.0, 5.0).mapped(lambda x: 1 - 1 / x) == Span(0.0, 0.5, 0.75, 0.8)


def test_a_bench_writes_down_what_was_chosen() -> None:
    bench = Bench()
    bench.stated(model="llama-3.1-8b")
    for batch in bench.unstated("batch", (1, 2)):
        bench.ask("llama-3.1-8b", "h100-sxm-80gb", phase="decode", batch=batch, context=128)
    assert {g.what: g.grade for g in bench.inputs} == {
        "model": "published", "batch": "unstated", "machine": "assumed", "context": "assumed",
    }  # fmt: skip


@pytest.fixture(scope="module")
def whole() -> tuple[object, ...]:
    return ledger()


@pytest.mark.slow
def test_the_ledger_lists_everything(whole: tuple[object, ...]) -> None:
    data = to_dict(whole)  # type: ignore[arg-type]
    assert len(data["papers"]) == 350
    _shaped(data)


def test_some_papers_have_the_shape_scripts_rely_on() -> None:
    _shaped(to_dict(ledger(["marlin", "headinfer", "m6-t", "tvm", "70-size-100-accuracy"])))


def _shaped(data: dict[str, object]) -> None:
    json.dumps(data, allow_nan=False)
    for p in data["papers"]:  # type: ignore[attr-defined]
        assert p["status"] in ("computed", "claims-only", "machine", "model", "suite", "unstated")
        for c in p["claims"]:
            assert {"claim_id", "metric", "sort", "form", "claimed", "verdict", "predicted", "inputs", "why"} <= set(c)
            assert (c["verdict"] is not None) == (
                c["sort"] in CHECKED and (c["claimed"] is not None or c["predicted"] is None)
            )


@pytest.mark.slow
def test_checkable_papers_have_a_computed_claim(whole: tuple[object, ...]) -> None:
    missing = [
        e.paper.id for e in whole  # type: ignore[attr-defined]
        if e.paper.checkable and any(c.sort in CHECKED for c in e.paper.claims) and not any(c.found for c in e.claims)  # type: ignore[attr-defined]
    ]  # fmt: skip
    assert not missing


@pytest.mark.slow
def test_most_computed_claims_are_reproduced_or_bounded(whole: tuple[object, ...]) -> None:
    s = summary(whole)  # type: ignore[arg-type]
    kept = sum(s[k].get(w, 0) for k in ("stated", "unstated") for w in ("reproduced", "bounded"))
    assert kept >= 0.6 * s["judged"], s
    assert s["stated"].get("reproduced", 0) >= 0.3 * sum(s["stated"].values()), s


@pytest.mark.slow
def test_no_verdict_is_cheap(whole: tuple[object, ...]) -> None:
    """Three times a claim is not explained where the claim was."""
    held: list[Entry] = [c for e in whole for c in e.claims if c.verdict.word in ("reproduced", "bounded")]  # type: ignore[attr-defined]
    still = [c.claim.id for c in held if verdict(_tripled(c.claim), c.found).word != "not explained"]  # type: ignore[arg-type]
    assert len(still) <= 0.2 * len(held), (len(still), len(held), still)


def _tripled(claim: Claim) -> Claim:
    import msgspec

    ends = claim.ends
    assert ends is not None
    return msgspec.structs.replace(claim, claimed=(3 * ends[0], 3 * ends[1]))


@pytest.mark.slow
def test_no_verdict_is_typed(whole: tuple[object, ...]) -> None:
    """Other machines and sizes move what is found, and change verdicts."""
    ids = [e.paper.id for e in whole if e.status == "computed"][::4]  # type: ignore[attr-defined]
    bent = ledger(ids, bench=Bench(Perturbation(bandwidth=3.0, peaks=0.4, links=0.3, capacity=0.5, sizes=1.4)))
    before = {c.claim.id: c for e in whole for c in e.claims}  # type: ignore[attr-defined]
    pairs = [(before[c.claim.id], c) for e in bent for c in e.claims if before[c.claim.id].found is not None]
    moved = [a for a, b in pairs if b.found is None or (a.found.low, a.found.high) != (b.found.low, b.found.high)]
    changed = [a for a, b in pairs if a.verdict.word != b.verdict.word]
    unmoved = sorted(a.claim.id for a, _ in pairs if a not in moved)
    assert len(moved) >= 0.75 * len(pairs), unmoved
    assert len(changed) >= 0.15 * len(pairs)


def test_one_paper_by_name() -> None:
    from speedlight import UnknownName

    assert paper("marlin").title.startswith("MARLIN")
    with pytest.raises(UnknownName, match="marlin"):
        paper("marlim")
