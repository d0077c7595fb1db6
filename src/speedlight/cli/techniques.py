"""``whatif`` and ``techniques``: would it help me?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from .._foundation.errors import BadInput
from . import options
from .output import answered, show
from .progress import counted


@click.command()
@click.argument("model")
@options.machine
@options.question
@options.later
@click.option("--try", "names", multiple=True, metavar="NAME[:k=v,…]", help="Only these techniques; repeatable.")
@click.option(
    "--family", "families", multiple=True, metavar="F", help="Only this family (speedlight techniques); repeatable."
)
@click.option("--pairs", is_flag=True, help="The best pairs too.")
@click.option("--triples", is_flag=True, help="The best pairs and triples too.")
@click.option("--settings", is_flag=True, help="Also try other values of parameters, and keep the fastest.")
@click.option("--compose", metavar="A+B+C", help="Apply these together and give each its part of the gain.")
@click.option("--top", type=click.IntRange(1), default=25, show_default=True, help="Rows of the table; JSON has all.")
@click.option("--why-not", is_flag=True, help="Also list what does not apply, and why.")
@options.json_to
@click.option("--html", type=click.Path(path_type=Path), help="Write a self-contained page.")
@options.folders
def whatif(
    model: str, on: str | None, names: tuple[str, ...], families: tuple[str, ...], pairs: bool, triples: bool, settings: bool,
    compose: str | None, top: int, why_not: bool, json_to: str | None, html: Path | None, **given: Any,
) -> int:  # fmt: skip
    """Published techniques ranked by the gain they would bring to this question, derived by the engine.

    Each with its interval, what binds next, where it starts or stops to pay, quoted effects on quality, and why others do not
    apply. A technique given by --technique is part of the baseline.
    """
    from ..techniques.technique import FAMILIES
    from ..techniques.whatif import whatif as rank
    from .question import question

    asked = question(model, on, given)
    if compose is not None:
        if names or families or pairs or triples or html:
            raise BadInput("--compose together with a ranking", expected="--compose alone, with --json")
        return _composed(asked, compose, json_to)
    for family in families:
        if family not in FAMILIES:
            raise BadInput(f"--family {family}", expected="one of " + ", ".join(FAMILIES))
    with counted("techniques") as tell:
        found = rank(
            asked, names=names, families=families, sizes=3 if triples else 2 if pairs else 1, settings=settings,
            progress=lambda done, of: tell(done, of, ""),
        )  # fmt: skip
    if html is not None:
        from .._foundation.files import write_atomically
        from ..report.whatif_html import whatif_html

        write_atomically(html, whatif_html(found))
        print(f"wrote {html}", file=sys.stderr)
    if answered(found.to_dict(), json_to):
        from ..report.whatif import render_whatif

        show(render_whatif(found, top, why_not), width=130)
    return 0


def _composed(asked: Any, labels: str, json_to: str | None) -> int:
    from ..techniques.whatif import attribution, composition_dict

    names = [label.strip() for label in labels.split("+") if label.strip()]
    shares, outcome, before = attribution(asked, names)
    if answered(composition_dict(shares, outcome, before), json_to):
        from ..report.whatif import render_composition

        show(render_composition(shares, outcome, before))
    return 0


@click.command("techniques")
@click.argument("pattern", default="")
@options.json_to
def list_techniques(pattern: str, json_to: str | None) -> int:
    """Published techniques by family; one by its whole name in full; PATTERN keeps those whose name, title or family has it."""
    from ..techniques.listing import rows

    found = rows(pattern)
    if not found:
        raise BadInput(f"no technique matches {pattern!r}", hint="`speedlight techniques` lists all")
    if answered({"techniques": found}, json_to):
        from ..report.whatif import render_technique, render_techniques

        alone = [row for row in found if row["name"] == pattern]
        show(render_technique(alone[0]) if alone else render_techniques(found), width=130)
    return 0
