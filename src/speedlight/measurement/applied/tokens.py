"""Tokens merged on the way through a stack of layers (ToMe, arXiv 2210.09461 §3)."""

from __future__ import annotations

from typing import Any

from ..modules.subject import Recipe
from .blocks import stacks
from .method import Method, Settings, changed, register

PARTS = 4  # of the stack, before each of which tokens become fewer


def merged(x: Any, stay: int) -> Any:
    """The most similar pairs of tokens as their means, so that so many tokens stay.

    Every other token looks for the nearest of those between; the first token, a classifier's, is never merged away. What is
    compared is the token's vector averaged over pieces of 64, as ToMe averages keys over heads.

    Args:
        x: (batch, tokens, width).
        stay: tokens that stay; at least half of them.
    """
    import torch

    batch, tokens, width = x.shape
    gone = min(tokens - stay, (tokens - 1) // 2)
    if gone <= 0:
        return x
    metric = x.reshape(batch, tokens, width // 64, 64).mean(2) if width % 64 == 0 and width > 64 else x
    metric = metric / metric.norm(dim=-1, keepdim=True)
    scores = metric[:, ::2] @ metric[:, 1::2].transpose(1, 2)
    scores[:, 0] = -torch.inf
    best, partner = scores.max(-1)
    order = best.argsort(dim=-1, descending=True)
    source, left = order[:, :gone], order[:, gone:].sort(dim=-1).values
    even, odd = x[:, ::2], x[:, 1::2]
    into = partner.gather(1, source)[..., None].expand(-1, -1, width)
    moved = even.gather(1, source[..., None].expand(-1, -1, width))
    odd = odd.scatter_reduce(1, into, moved, reduce="mean")
    return torch.cat([even.gather(1, left[..., None].expand(-1, -1, width)), odd], dim=1)


def _merging(recipe: Recipe, settings: Settings) -> Recipe:
    def change(module: Any) -> None:
        layers = list(_stack(module).children())
        keep = float(settings["keep"])
        starts = {i * PARTS // len(layers): i for i in reversed(range(len(layers)))}  # first layer of each part
        tokens: list[int] = [0]  # as they came to the first layer of this call

        def wrap(layer: Any, share: float, first: bool) -> None:
            inside = layer.forward

            def forward(x: Any, *args: Any, **kwargs: Any) -> Any:
                if first:
                    tokens[0] = x.shape[1]
                return inside(merged(x, round(1 + (tokens[0] - 1) * share)), *args, **kwargs)

            layer.forward = forward

        for part, i in starts.items():
            wrap(layers[i], 1 - (1 - keep) * (part + 1) / PARTS, i == 0)

    return changed(recipe, change)


def _stack(module: Any) -> Any:
    return max(stacks(module), key=lambda s: len(list(s.children())))


def _pictures(recipe: Recipe, settings: Settings) -> str:
    import torch

    found = stacks(recipe.module)
    attends = any("attention" in type(m).__name__.lower() for m in recipe.module.modules())
    if len(found) != 1 or not attends or not any(torch.is_tensor(a) and a.dim() == 4 for a in recipe.args):
        return "tokens are merged in vision transformers of one stack of layers (vit_…, deit_…, CLIP's tower)"
    return ""


register(Method(
    technique="token-merging", how="ToMe's bipartite matching before each quarter of the stack, written here: timm has none",
    apply=_merging, refuse=_pictures,
))  # fmt: skip
