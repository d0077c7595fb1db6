"""What applying a technique to a module is, and where methods are filed by the technique's name."""

from __future__ import annotations

import copy
import dataclasses
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..._foundation.registry import Registry
from ..modules.subject import Recipe

Settings = Mapping[str, Any]
Change = Callable[[Recipe, Settings], Recipe]

HOMES = ("kernels", "formats", "layers", "tokens", "steps", "devices")


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """How a technique is applied to a module.

    Attributes:
        technique: its name, as ``--technique`` takes it.
        how: the library's call, in words.
        apply: (a recipe, the technique's settings) → the changed recipe. The one it is given stays as it was.
        refuse: why it cannot be applied to this recipe, or an empty string.
        exact: results are the same up to rounding; else their error is reported.
        work: how many times a call's work a changed call does (a larger batch).
        training: for training steps alone (True) or for inference alone (False); None for both.
        settings: of the technique that can be applied to modules here, where its defaults cannot.
    """

    technique: str
    how: str
    apply: Change
    refuse: Callable[[Recipe, Settings], str] = lambda recipe, settings: ""
    exact: bool = False
    work: Callable[[Settings], float] = lambda settings: 1.0
    training: bool | None = False
    settings: str = ""

    @property
    def label(self) -> str:
        """As ``--technique`` takes it."""
        return self.technique + (f":{self.settings}" if self.settings else "")

    def suits(self, train: bool) -> bool:
        """Whether it is for this phase."""
        return self.training is None or self.training is train

    def why_not(self, recipe: Recipe, settings: Settings) -> str:
        """Why it cannot be applied to a recipe with these settings; empty where it can."""
        if not self.suits(recipe.train):
            return "it is for training (ask with --phase train)" if self.training else "it is for inference"
        return self.refuse(recipe, settings)


METHODS: Registry[Method] = Registry("method", "speedlight.methods")


def register(method: Method) -> Method:
    """File a method under its technique's name."""
    return METHODS.register(method.technique)(method)


@lru_cache(maxsize=1)
def methods() -> dict[str, Method]:
    """All methods by technique, in alphabetical order."""
    for home in HOMES:
        importlib.import_module(f"{__package__}.{home}")
    return {name: METHODS.get(name) for name in METHODS}


def changed(recipe: Recipe, change: Callable[[Any], Any]) -> Recipe:
    """The recipe with a copy of its module, changed; ``change`` may return another module or edit the copy in place."""
    module = copy.deepcopy(recipe.module)
    other = change(module)
    return dataclasses.replace(recipe, module=module if other is None else other)
