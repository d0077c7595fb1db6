"""The repeated blocks of a module: layers of one class in one list or sequence."""

from __future__ import annotations

from typing import Any

from ..modules.subject import Recipe
from .method import Settings

LEAST = 2  # layers that make a stack


def stacks(module: Any) -> list[Any]:
    """Containers whose children are layers of one class, outermost first, none inside another."""
    import torch

    found: list[Any] = []
    inside: list[str] = []
    for path, part in module.named_modules():
        if any(path.startswith(above + ".") for above in inside):
            continue
        if isinstance(part, (torch.nn.ModuleList, torch.nn.Sequential)):
            children = list(part.children())
            if (
                len(children) >= LEAST
                and len({type(c) for c in children}) == 1
                and any(True for _ in children[0].children())
            ):
                found.append(part)
                inside.append(path)
    return found


def layers(module: Any) -> list[Any]:
    """The layers of all stacks, in order."""
    return [layer for stack in stacks(module) for layer in stack.children()]


def unstacked(recipe: Recipe, settings: Settings) -> str:
    """Why a method that is about repeated layers cannot be applied; empty where there are some."""
    return "" if stacks(recipe.module) else "the module has no repeated layers"


def without(stack: Any, gone: range) -> Any:
    """A stack without the layers of these indices, of its own class."""
    import torch

    kept = [layer for i, layer in enumerate(stack.children()) if i not in gone]

    return torch.nn.ModuleList(kept) if isinstance(stack, torch.nn.ModuleList) else torch.nn.Sequential(*kept)


def replaced(module: Any, old: Any, new: Any) -> None:
    """Put one part in another's place, wherever the module holds it."""
    for part in list(module.modules()):
        for name, child in part.named_children():
            if child is old:
                setattr(part, name, new)
