"""Speedlight: how fast a deep-learning model runs on a machine, why, and what would make it faster.

``explain``, ``fit``, ``compare``, ``whatif``, ``cuts`` and ``simulate`` answer; ``make_scenario`` builds the frozen question, ``Scenario`` and ``Prediction`` are
the records; ``machine`` and ``machines`` look up the catalogue. Everything is imported when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._foundation.version import VERSION as __version__

_HOMES = {
    "explain": "api",
    "fit": "api",
    "compare": "api",
    "cuts": "api",
    "diagnose": "api",
    "make_scenario": "api",
    "simulate": "api",
    "Scenario": "scenario.scenario",
    "Prediction": "engine.answers.prediction",
    "SpeedlightError": "_foundation.errors",
    "BadInput": "_foundation.errors",
    "UnknownName": "_foundation.errors",
    "BadFile": "_foundation.errors",
    "Unsupported": "_foundation.errors",
    "MissingDependency": "_foundation.errors",
    "validate": "validation.validate",
    "whatif": "api",
    "post_training": "api",
}
_RENAMED = {"machine": ("hardware.catalogue", "load_machine"), "machines": ("hardware.catalogue", "machine_ids")}

__all__ = [
    "BadFile", "BadInput", "MissingDependency", "Prediction", "Scenario", "SpeedlightError", "UnknownName",
    "Unsupported", "__version__", "compare", "cuts", "diagnose", "explain", "fit", "machine", "machines", "make_scenario",
    "post_training", "simulate", "validate", "whatif",
]  # fmt: skip

if TYPE_CHECKING:
    from ._foundation.errors import (
        BadFile,
        BadInput,
        MissingDependency,
        SpeedlightError,
        UnknownName,
        Unsupported,
    )
    from .api import compare, cuts, diagnose, explain, fit, make_scenario, post_training, simulate, whatif
    from .engine.answers.prediction import Prediction
    from .hardware.catalogue import load_machine as machine
    from .hardware.catalogue import machine_ids as machines
    from .scenario.scenario import Scenario
    from .validation.validate import validate


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        module, original = _RENAMED[name]
        return getattr(import_module(f".{module}", __name__), original)
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
