"""The two things ``speedlight measure`` does: this machine, or one module on it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .._foundation.errors import BadInput
from .options import NEUTRAL
from .progress import counted

EVIDENCE, MACHINE = Path("evidence.json"), Path("here.yaml")
POINT_S, MODEL_S = 0.35, 2.0


def measure_machine(
    own: Mapping[str, Any], others: Mapping[str, Any], answered: Callable[[dict[str, Any]], bool], show: Callable[[Any], None]
) -> int:  # fmt: skip
    """The suite of microbenchmarks; options of a model have no meaning here."""
    stray = [k for k, v in others.items() if v is not None and v != NEUTRAL.get(k)]
    if (stray and stray != ["on"]) or others.get("on") not in (None, "here"):
        raise BadInput(f"--{stray[0].replace('_', '-')} without a model", expected="measure alone, or measure MODEL")
    from ..measurement.bench.here import measure_here

    with counted("measuring") as tell:
        result = measure_here(
            own["out"] or EVIDENCE, own["machine_file"] or MACHINE, quick=own["quick"], only=own["only"],
            seconds=own["time_s"] or POINT_S, device=own["device"], tell=tell,
        )  # fmt: skip
    if answered(result):
        from ..report.measured import render_measured

        show(render_measured(result))
    return 0


def measure_module(
    model: str, on: str | None, own: Mapping[str, Any], given: Mapping[str, Any], html: Path | None,
    answered: Callable[[dict[str, Any]], bool], show: Callable[[Any], None],
) -> int:  # fmt: skip
    """One module, run here."""
    stray = [k for k in ("out", "machine_file", "quick", "only") if own[k]]
    if stray:
        raise BadInput(
            f"--{stray[0].replace('_', '-').removesuffix('-file')} beside a model",
            expected="measure MODEL with the options of explain",
        )
    from ..engine.measured.beside import measure_model
    from .question import question

    result = measure_model(question(model, on or "here", given), own["time_s"] or MODEL_S, own["device"])
    if html is not None:
        from .._foundation.files import write_atomically
        from ..report.beside import beside_html

        write_atomically(html, beside_html(result))
        print(f"wrote {html}", file=sys.stderr)
    if answered(result):
        from ..report.beside import render_beside

        show(render_beside(result))
    return 0
