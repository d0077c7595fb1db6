"""Writes docs/claims.md: how many published claims the engine reproduces, by kind of paper, and every paper's place.

python scripts/claims_page.py
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from speedlight.validation.ledger.ledger import PaperEntry, ledger, summary
from speedlight.validation.ledger.verdicts import VERDICTS

HEAD = """# Published claims

350 papers say what their technique gains. Speedlight derives each claim in the paper's own setting and gives a verdict:

```console
$ speedlight claims marlin
$ speedlight check-claim "3x decode with weight only int on h100-sxm-80gb, llama-3.1-8b, batch 8" # exits 1
```

*reproduced*: our interval meets the claim, its setting stated · *bounded*: something is unstated, and the claim lies inside the
range over every admissible value, the physical bound at most three times the claim · *headroom*: we predict clearly more than
was achieved · *not explained*: the claim exceeds the bound or has a cause outside the model · *contradicted*: we predict the
opposite · *not checkable*: too much is unstated.

No verdict is typed: tests bend machines and sizes and see verdicts change, and three times a claim is not explained where the
claim was. Claims about quality are quoted, never predicted. Outside physics: gate counts, FPGA resources, tuning time, prediction
errors of other models.

What this is worth: admissible values were chosen by people who could read the claim, and some were changed after a first verdict
(for a reason that stands in the derivation). *Bounded* therefore says "compatible with physics within stated ranges", not "predicted
blind"; *reproduced* is mostly exact arithmetic. Where a figure is kept apart, the prediction stands alone.

`check-claim` does the same for anybody's claim. Options (`--gain 2 --technique … --on … --model …`) say it unmistakably; what
neither they nor the words say is walked through. Exit code 1 where it is not explained.

`scripts/claims_page.py` writes the rest of this page.
"""


def main() -> None:
    entries = ledger()
    lines = [
        HEAD,
        "## Verdicts",
        "",
        *_verdicts(entries),
        "",
        "## By kind of paper",
        "",
        *_kinds(entries),
        "",
        "## Every paper",
        "",
    ]
    lines += _papers(entries)
    Path("docs/claims.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _verdicts(entries: tuple[PaperEntry, ...]) -> list[str]:
    s = summary(entries)
    lines = ["| verdict | setting stated | something unstated |", "|---|---:|---:|"]
    lines += [f"| {name} | {s['stated'].get(name, 0)} | {s['unstated'].get(name, 0)} |" for name in VERDICTS]
    sorts = ", ".join(f"{n} {name}" for name, n in sorted(s["sorts"].items(), key=lambda kv: -kv[1]))
    kept = s["computed"] - s["judged"]
    return [
        *lines,
        "",
        f"{s['claims']:,} claims: {sorts}. {s['computed']} are derived; the figures of {kept} of those are kept apart.",
    ]


def _kinds(entries: tuple[PaperEntry, ...]) -> list[str]:
    lines = [
        "| kind | papers | with a derived claim | derived | reproduced or bounded | other verdicts |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for kind in sorted({e.paper.kind for e in entries}):
        mine = [e for e in entries if e.paper.kind == kind]
        claims = [c for e in mine for c in e.claims if c.found is not None]
        words = Counter(c.verdict.word for c in claims)
        good = words["reproduced"] + words["bounded"]
        computed = sum(e.status == "computed" for e in mine)
        other = len(claims) - good - words[None]
        lines.append(f"| {kind} | {len(mine)} | {computed} | {len(claims)} | {good} | {other} |")
    return lines


def _papers(entries: tuple[PaperEntry, ...]) -> list[str]:
    lines = ["| paper | relevance | here | verdicts |", "|---|---:|---|---|"]
    for e in sorted(entries, key=lambda e: (e.paper.kind, e.paper.id)):
        counts = Counter(c.verdict.word for c in e.claims if c.found is not None)
        words = ", ".join(f"{counts[v]} {v}" for v in VERDICTS if counts[v])
        if counts[None]:
            words = ", ".join(filter(None, [words, f"{counts[None]} predicted"]))
        here = e.paper.role + (f": {', '.join(e.paper.covers)}" if e.paper.covers else "")
        note = words or e.paper.reason
        lines.append(f"| {_clean(e.paper.title)} | {e.paper.relevance} | {_clean(here)} | {_clean(note)} |")
    return lines


def _clean(text: str) -> str:
    return " ".join(text.replace("|", "/").split())


if __name__ == "__main__":
    main()
