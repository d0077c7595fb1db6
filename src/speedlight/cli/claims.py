"""``claims`` and ``check-claim``: what published figures amount to."""

from __future__ import annotations

from typing import Any

import click

from .._foundation.errors import BadInput
from . import options
from .output import answered, show
from .progress import counted


@click.command()
@click.argument("paper", default="")
@click.option("--family", metavar="F", help="Only this kind of paper, like kernel or kv-cache.")
@options.json_to
def claims(paper: str, family: str | None, json_to: str | None) -> int:
    """Published claims with verdicts, each derived anew; PAPER is an id (or a part of one), whose derivations are printed in words.

    reproduced: our interval meets the claim in its stated setting. bounded: it does for some admissible value of what is unstated.
    headroom: we predict clearly more. not explained: the claim exceeds the bound or has a cause outside the model.
    """
    from ..evidence.literature import paper_ids, papers
    from ..validation.ledger.ledger import ledger, to_dict

    ids: list[str] = []
    if paper:
        ids = [paper] if paper in paper_ids() else [name for name in paper_ids() if paper in name]
        if not ids:
            from .._foundation.errors import UnknownName

            raise UnknownName("paper", paper, paper_ids(), "speedlight claims")
        if family:
            raise BadInput("PAPER together with --family", expected="one of them")
    kinds = sorted({p.kind for p in papers()}) if family else []
    if family and family not in kinds:
        raise BadInput(f"--family {family}", expected="one of " + ", ".join(kinds))
    with counted("papers") as tell:
        found = ledger(ids, kind=family, progress=lambda done, of: tell(done, of, ""))
    if answered(to_dict(found), json_to):
        from ..report.claims import render_ledger, render_paper

        show(render_paper(found[0]) if len(found) == 1 else render_ledger(found), width=130)
    return 0


@click.command("check-claim")
@click.argument("text", default="")
@click.option("--gain", type=float, metavar="X", help="The claimed factor: 3 for 3×.")
@click.option("--of", type=click.Choice(["latency", "throughput", "memory"]), help="What gets better.  [latency]")
@click.option(
    "--technique", "labels", multiple=True, metavar="NAME[:k=v,…]", help="What is claimed to do it; repeatable."
)
@click.option("--on", "--system", "on", metavar="MACHINE", help="Machine id; a short name stands for all its variants.")
@click.option("--model", metavar="MODEL", help="Bundled or hub id, or a path.")
@click.option("--phase", help="forward | prefill | decode | generate | train")
@click.option("--batch", "--bs", type=int, help="Sequences or images.")
@click.option("--isl", type=int, help="Prompt tokens per sequence.")
@click.option("--osl", type=int, help="Output tokens per sequence.")
@click.option("--context", type=int, help="Tokens already cached per sequence (decode).")
@click.option("--tp", type=int, help="Tensor-parallel degree.")
@click.option("--dtype", help="Number format of the baseline.")
@click.option("--stack", metavar="NAME", help="Software it runs in.")
@click.option("--up-to", is_flag=True, help='The claim says "up to".')
@options.json_to
def check_claim(text: str, json_to: str | None, **given: Any) -> int:
    """Is it plausible? "3x decode with FP8 on h100, llama-3.1-70b, batch 8"; options say it unmistakably and win over the text.

    What neither says is walked through over admissible values. Exit code 1 where the claim is not explained or contradicted.
    """
    from ..validation.ledger.checking import check

    result = check(text, {k: v for k, v in given.items() if v not in (None, (), False)})
    if answered(result, json_to):
        from ..report.claims import render_check

        show(render_check(result))
    return 1 if result["verdict"] in ("not explained", "contradicted") else 0
