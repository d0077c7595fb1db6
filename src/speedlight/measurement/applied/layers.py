"""Fewer layers."""

from __future__ import annotations

from typing import Any

from ..modules.subject import Recipe
from .blocks import replaced, stacks, unstacked, without
from .method import Method, Settings, changed, register


def _dropped(recipe: Recipe, settings: Settings) -> Recipe:
    def drop(module: Any) -> None:
        for stack in stacks(module):
            count = len(list(stack.children()))
            gone = round(count * float(settings["share"]))
            # The middle ones go: the first and the last change most (ShortGPT, arXiv 2403.03853 §3).
            first = (count - gone) // 2
            replaced(module, stack, without(stack, range(first, first + gone)))

    return changed(recipe, drop)


register(Method(
    technique="layer-dropping", how="blocks in the middle of each stack taken out", apply=_dropped, refuse=unstacked,
))  # fmt: skip
