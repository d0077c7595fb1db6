"""Methods that need an NVIDIA GPU: graphs of launches, products of 2:4 sparse weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..bench.accelerator import on_cuda
from ..modules.subject import Recipe
from .method import Method, Settings, changed, register

MULTIPLE = 64  # rows and columns that the library's sparse weights come in


def _on_cuda(reason: str) -> Callable[[Recipe, Settings], str]:
    return lambda recipe, settings: "" if on_cuda(recipe.device) else reason


def _graphed(recipe: Recipe, settings: Settings) -> Recipe:
    import torch

    class Replayed(torch.nn.Module):  # type: ignore[misc]
        """Copies arguments to where the graph reads them, replays it, and returns what it wrote."""

        def __init__(self, module: Any) -> None:
            super().__init__()
            self.module = module
            self.held = [a.clone() if torch.is_tensor(a) else a for a in recipe.args]
            self.named = {k: v.clone() if torch.is_tensor(v) else v for k, v in recipe.kwargs.items()}
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.inference_mode(), torch.cuda.stream(stream), recipe.around():
                for _ in range(3):
                    module(*self.held, **self.named)
            torch.cuda.synchronize()
            self.graph = torch.cuda.CUDAGraph()
            with torch.inference_mode(), torch.cuda.graph(self.graph, stream=stream), recipe.around():
                self.out = module(*self.held, **self.named)

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            for held, given in (*zip(self.held, args, strict=True), *((self.named[k], v) for k, v in kwargs.items())):
                if torch.is_tensor(held):
                    held.copy_(given)
            self.graph.replay()
            return self.out

    return changed(recipe, Replayed)


register(Method(
    technique="cuda-graphs", how="torch.cuda.graph around the forward pass, inputs copied into place before each replay",
    apply=_graphed, refuse=_on_cuda("a CUDA graph is recorded from a GPU's stream"), exact=True,
))  # fmt: skip


def _two_of_four(recipe: Recipe, settings: Settings) -> Recipe:
    def prune(module: Any) -> None:
        import torch
        from torch.sparse import to_sparse_semi_structured

        for part in module.modules():
            if isinstance(part, torch.nn.Linear) and not any(s % MULTIPLE for s in part.weight.shape):
                weight = part.weight.detach()
                fours = weight.reshape(-1, 4)
                kept = torch.zeros_like(fours, dtype=torch.bool).scatter_(1, fours.abs().topk(2, 1).indices, True)
                pruned = (fours * kept).reshape(weight.shape).contiguous()
                part.weight = torch.nn.Parameter(to_sparse_semi_structured(pruned), requires_grad=False)
                # the library's product looks at rows that lie one after another
                part.register_forward_pre_hook(lambda _, given: tuple(t.contiguous() for t in given))

    return changed(recipe, prune)


def _in_16_bits(recipe: Recipe, settings: Settings) -> str:
    import torch

    why = _on_cuda("2:4 products need the sparse matrix units of NVIDIA GPUs (Ampere and later)")(recipe, settings)
    linear = [m for m in recipe.module.modules() if isinstance(m, torch.nn.Linear)]
    if why or not linear:
        return why or "it has no linear layers"
    wide = all(m.weight.dtype == torch.float32 for m in linear)
    return "the library's sparse products are in 16 bits; ask with --dtype fp16" if wide else ""


register(Method(
    technique="sparsity-2-4", how="torch.sparse.to_sparse_semi_structured(weight), the smaller two of four set to zero before",
    apply=_two_of_four, refuse=_in_16_bits,
))  # fmt: skip
