"""All papers → CONTRACT's ``claims`` object, every verdict derived anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..._foundation.errors import SpeedlightError, UnknownName
from ...engine.answers.prediction import plain
from ...evidence.literature import CHECKED, Claim, Paper, paper, papers
from .bench import Bench
from .finding import Finding, with_inputs
from .registry import derivations
from .verdicts import Verdict, verdict


@dataclass(frozen=True, slots=True)
class Entry:
    """A claim with what was derived; ``found`` is None where there is no derivation."""

    claim: Claim
    found: Finding | None
    verdict: Verdict

    def to_dict(self) -> dict[str, Any]:
        claim, found = self.claim, self.found
        return {
            "claim_id": claim.id, "metric": claim.metric, "sort": claim.sort, "form": claim.form,
            "claimed": None if claim.claimed is None else claim.claimed if not isinstance(claim.claimed, tuple) else list(claim.claimed),
            "baseline": claim.baseline, "context": claim.context,
            "verdict": self.verdict.word, "predicted": None if found is None else [found.low, found.high],
            "value": None if found is None else found.value, "bound": None if found is None else found.bound,
            "stated": None if found is None else found.stated,
            "inputs": [] if found is None else [g.to_dict() for g in found.inputs],
            "why": ". ".join(filter(None, ["" if found is None else found.why, self.verdict.cause])),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class PaperEntry:
    """A paper with its claims."""

    paper: Paper
    claims: tuple[Entry, ...]

    @property
    def status(self) -> str:
        """CONTRACT's: computed | claims-only | machine | model | suite | unstated."""
        if any(e.found is not None for e in self.claims):
            return "computed"
        if self.paper.role in ("machine", "model", "suite"):
            return self.paper.role
        return "unstated" if any(e.claim.sort in CHECKED for e in self.claims) else "claims-only"

    def to_dict(self) -> dict[str, Any]:
        p = self.paper
        return {
            "id": p.id, "title": p.title, "family": p.kind, "relevance": p.relevance, "status": self.status, "role": p.role,
            "covers": list(p.covers), "reason": p.reason, "checkable": p.checkable, "withheld": p.withheld,
            "setting": dict(p.setting), "unstated": list(p.unstated), "claims": [e.to_dict() for e in self.claims],
        }  # fmt: skip


def ledger(
    ids: Sequence[str] = (),
    *,
    kind: str | None = None,
    bench: Bench | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> tuple[PaperEntry, ...]:
    """Papers with their claims derived.

    Args:
        ids: of papers; all where empty.
        kind: only papers of this family.
        bench: to derive with; a perturbed one for tests.
        progress: told (done, of all).

    Raises:
        UnknownName: for an id nobody has.
    """
    chosen = [paper(name) for name in ids] if ids else [p for p in papers() if kind is None or p.kind == kind]
    known, bench = derivations(), bench or Bench()
    made = []
    for index, p in enumerate(chosen):
        made.append(PaperEntry(p, tuple(entry(c, known, bench) for c in p.claims)))
        progress(index + 1, len(chosen))
    return tuple(made)


def entry(claim: Claim, known: Any, bench: Bench) -> Entry:
    """One claim derived and judged."""
    derive = known.get(claim.id)
    if derive is None:
        return Entry(claim, None, _none(claim))
    bench.fresh()
    try:
        found = with_inputs(derive(bench), tuple(bench.inputs), bench.capped)
    except UnknownName:
        raise  # a derivation that names what is not there is wrong, not refused
    except SpeedlightError as error:
        return Entry(claim, None, Verdict("not checkable", f"the engine refuses the setting: {error.message}"))
    return Entry(claim, found, verdict(claim, found))


def _none(claim: Claim) -> Verdict:
    if claim.sort in CHECKED:
        return Verdict("not checkable", claim.outside or "no derivation: the source states too little of its setting")
    return Verdict(None, {"quality": "quoted, never predicted"}.get(claim.sort, "context"))


def to_dict(entries: Sequence[PaperEntry]) -> dict[str, Any]:
    """CONTRACT's object, with the counts."""
    return plain({"papers": [e.to_dict() for e in entries], "summary": summary(entries)})  # type: ignore[no-any-return]


def summary(entries: Sequence[PaperEntry]) -> dict[str, Any]:
    """How many papers and claims, by status and verdict, apart by whether the setting is stated."""
    claims = [c for e in entries for c in e.claims]
    found = [c for c in claims if c.found is not None and c.verdict.word is not None]

    def by(stated: bool) -> dict[str, int]:
        return dict(Counter(str(c.verdict.word) for c in found if c.found is not None and c.found.stated is stated))

    return {
        "papers": len(entries), "status": dict(Counter(e.status for e in entries)), "claims": len(claims),
        "sorts": dict(Counter(c.claim.sort for c in claims)), "computed": len([c for c in claims if c.found is not None]),
        "judged": len(found), "stated": by(True), "unstated": by(False),
    }  # fmt: skip
