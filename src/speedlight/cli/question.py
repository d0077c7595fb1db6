"""Options → the frozen question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._foundation.errors import BadInput
from .._foundation.quantity import parse_quantity
from ..scenario.scenario import Scenario
from .options import NEUTRAL


def question(model: str, on: str | None, options: Mapping[str, Any]) -> Scenario:
    """The scenario a command line asks: a saved one replayed, or a new one.

    Raises:
        BadInput: where a saved scenario is given together with options, no machine is named, or a size makes no sense.
    """
    from ..api import make_scenario

    given = {k: v for k, v in options.items() if v is not None and v != NEUTRAL.get(k)}
    from ..frontends.op_list import is_op_list

    if model.endswith((".yaml", ".yml")) and not is_op_list(model):
        from ..scenario.file import load

        saved = load(model)
        if given:
            name = {"symbols": "set"}.get(first := next(iter(given)), first).replace("_", "-")
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
    techniques = given.pop("technique", ())
    given["symbols"] = dict(_symbol(text) for text in given.pop("symbols", ()))
    asked = make_scenario(model, on, **given)
    if not techniques:
        return asked
    from ..techniques.compose import parsed

    return asked.replace(techniques=tuple(parsed(t) for t in techniques))


def _symbol(text: str) -> tuple[str, float]:
    name, separator, value = text.partition("=")
    if not separator or not name.strip():
        raise BadInput(f"--set {text}", expected="NAME=NUMBER, like --set nnz=1e6")
    return name.strip(), parse_quantity(value.strip(), "")
