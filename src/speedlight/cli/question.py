"""Options → the frozen question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._foundation.errors import BadInput
from ..scenario.scenario import Scenario, Technique
from .options import NEUTRAL


def question(model: str, on: str | None, options: Mapping[str, Any]) -> Scenario:
    """The scenario a command line asks: a saved one replayed, or a new one.

    Raises:
        BadInput: where a saved scenario is given together with options, no machine is named, or a size makes no sense.
    """
    from ..api import make_scenario

    given = {k: v for k, v in options.items() if v is not None and v != NEUTRAL.get(k)}
    if model.endswith((".yaml", ".yml")):
        from ..scenario.file import load

        saved = load(model)
        if given:
            name = next(iter(given)).replace("_", "-")
            raise BadInput(
                f"a saved scenario is given together with --{name}",
                expected="the scenario alone, or with --on",
                hint=f"edit {model}",
            )
        return saved if on is None else saved.replace(machine=on)
    if on is None:
        raise BadInput(
            "no machine is given", expected="--on MACHINE", hint="`speedlight devices` lists them; 'here' is this one"
        )
    schedule, offload, techniques = (given.pop(k, None) for k in ("schedule", "offload", "technique"))
    if offload:
        raise BadInput(f"--offload {offload[0]} is not executed by this version", expected="everything in main memory")
    asked = make_scenario(model, on, **given)
    if schedule:
        asked = asked.replace(schedule=schedule)
    return asked.replace(techniques=tuple(_technique(t) for t in techniques or ()))


def _technique(text: str) -> Technique:
    name, _, rest = text.partition(":")
    pairs = [p.partition("=") for p in rest.split(",") if p]
    return Technique(name, tuple((key, value) for key, _, value in pairs))
