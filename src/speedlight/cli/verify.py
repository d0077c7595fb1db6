"""``verify``: a technique applied for real."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from .._foundation.errors import SpeedlightError
from . import options
from .output import answered, show
from .progress import counted

SECONDS = 4.0


@click.command()
@click.argument("model")
@options.machine
@options.question
@click.option(
    "--technique",
    "labels",
    multiple=True,
    metavar="NAME[:k=v,…]",
    help="Repeatable; all that can be applied by default.",
)
@click.option(
    "--time",
    "time_s",
    type=click.FloatRange(0.1, 600),
    default=SECONDS,
    show_default=True,
    help="Seconds for each technique, beside its warm-up.",
)
@options.json_to
@click.option("--html", type=click.Path(path_type=Path), help="Write a self-contained page.")
@options.folders
def verify(
    model: str,
    on: str | None,
    labels: tuple[str, ...],
    time_s: float,
    json_to: str | None,
    html: Path | None,
    **given: Any,
) -> int:
    """Apply techniques to MODEL for real, run it with and without each, and set the gains beside the predicted ones.

    MODEL is file.py:factory or one of timm's names; its code is run, since you named it. Techniques are given by --technique
    (each on its own); without any, all that can be applied here are tried. Outputs are compared: exact techniques must agree to
    rounding, of others the error is said. Exit 1 where an exact technique changes results.
    """
    from ..techniques.verify import verify as one
    from .question import question

    asked = question(model, on or "here", given)
    results, refused = [], []
    with counted("techniques") as tell:
        names = labels or _all(asked.program.workload.phase == "train")
        for index, label in enumerate(names):
            tell(index, len(names), label)
            try:
                results.append(one(asked, label, time_s))
            except SpeedlightError as error:
                if labels and len(names) == 1:
                    raise
                refused.append({"technique": label, "reason": error.message, "instead": error.hint or ""})
    data = {"results": results, "refused": refused}
    if html is not None:
        from .._foundation.files import write_atomically
        from ..report.verified import verified_html

        write_atomically(html, verified_html(data))
        print(f"wrote {html}", file=sys.stderr)
    if answered(data, json_to):
        from ..report.verified import render_verified

        show(render_verified(data, bool(labels)), width=130)
    return 0 if all(not r["exact"] or r["difference"] is None or r["difference"]["close"] for r in results) else 1


def _all(training: bool) -> tuple[str, ...]:
    """Every technique with a method, at settings that can be applied to modules here."""
    from ..measurement.applied.method import methods

    return tuple(m.label for m in methods().values() if m.suits(training))
