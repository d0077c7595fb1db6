"""Other steps: activations computed again, frozen layers, batches in pieces or larger, another optimizer."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..modules.subject import Recipe
from .blocks import layers, stacks, unstacked
from .method import Method, Settings, changed, register


def _checkpointed(recipe: Recipe, settings: Settings) -> Recipe:
    def wrap(module: Any) -> None:
        from torch.utils.checkpoint import checkpoint

        for layer in layers(module):
            inside = layer.forward
            layer.forward = lambda *a, inside=inside, **k: checkpoint(inside, *a, use_reentrant=False, **k)

    return changed(recipe, wrap)


def _layers_again(recipe: Recipe, settings: Settings) -> str:
    if settings["kind"] != "full":
        return f"recomputation of kind {settings['kind']} has no library's call here; ask with kind=full"
    return unstacked(recipe, settings)


register(Method(
    technique="activation-checkpointing", how="torch.utils.checkpoint.checkpoint(layer, use_reentrant=False) for each block",
    apply=_checkpointed, refuse=_layers_again, exact=True, training=True,
))  # fmt: skip


def _frozen(recipe: Recipe, settings: Settings) -> Recipe:
    def freeze(module: Any) -> None:
        for stack in stacks(module):
            children = list(stack.children())
            for layer in children[: int(len(children) * float(settings["share"]))]:
                layer.requires_grad_(False)

    return changed(recipe, freeze)


register(Method(
    technique="frozen-layers", how="requires_grad_(False) for the first blocks of each stack",
    apply=_frozen, refuse=unstacked, training=True,
))  # fmt: skip


def _in_pieces(recipe: Recipe, settings: Settings) -> Recipe:
    return dataclasses.replace(recipe, pieces=recipe.pieces * int(settings["steps"]))


def _divides(recipe: Recipe, settings: Settings) -> str:
    batch = _batch(recipe)
    if batch % int(settings["steps"]):
        return f"a batch of {batch} does not divide by {settings['steps']}"
    return ""


def _batch(recipe: Recipe) -> int:
    sizes = [a.shape[0] for a in (*recipe.args, *recipe.kwargs.values()) if hasattr(a, "shape") and a.dim()]
    return int(sizes[0]) if sizes else 1


register(Method(
    technique="gradient-accumulation", how="a backward pass for each piece of the batch, one optimizer step",
    apply=_in_pieces, refuse=_divides, exact=True, training=True,
))  # fmt: skip


def _larger(recipe: Recipe, settings: Settings) -> Recipe:
    times = int(settings["times"])

    def repeated(value: Any) -> Any:
        return value.repeat(times, *[1] * (value.dim() - 1)) if hasattr(value, "dim") and value.dim() else value

    return dataclasses.replace(
        recipe, args=tuple(map(repeated, recipe.args)), kwargs={k: repeated(v) for k, v in recipe.kwargs.items()}
    )


register(Method(
    technique="batching", how="inputs of several requests in one call", apply=_larger, exact=True,
    work=lambda settings: float(settings["times"]),
))  # fmt: skip
register(Method(
    technique="large-batch", how="more samples in one step", apply=_larger, training=True,
    work=lambda settings: float(settings["times"]),
))  # fmt: skip


def _optimizer(recipe: Recipe, settings: Settings) -> Recipe:
    return dataclasses.replace(recipe, optimizer=str(settings["name"]))


def _known(recipe: Recipe, settings: Settings) -> str:
    if settings["name"] not in ("sgd", "sgd_momentum"):
        return f"torch has no {settings['name']}; ask with name=sgd"
    return ""


register(Method(
    technique="lean-optimizer", how="torch.optim.SGD in the place of AdamW", apply=_optimizer, refuse=_known, training=True, settings="name=sgd",
))  # fmt: skip
