"""Other kernels for the same numbers: a compiler, attention written out, another layout, branches and norms folded."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from typing import Any

from ..modules.subject import Recipe
from .method import Method, Settings, changed, register


def _compiled(recipe: Recipe, settings: Settings) -> Recipe:
    import torch

    torch._dynamo.reset()
    return changed(recipe, lambda module: torch.compile(module))


def _compiler(recipe: Recipe, settings: Settings) -> str:
    if any(shutil.which(name) for name in ("g++", "clang++", "c++")):
        return ""
    return "Inductor needs a C++ compiler and finds none"


register(Method(
    technique="torch-compile", how="torch.compile(module)", apply=_compiled, refuse=_compiler, exact=True, training=None,
))  # fmt: skip


def _math(recipe: Recipe, settings: Settings) -> Recipe:
    from torch.nn.attention import SDPBackend, sdpa_kernel

    return dataclasses.replace(recipe, around=lambda: sdpa_kernel([SDPBackend.MATH]))


register(Method(
    technique="written-out-attention",
    settings="by=sdpa-math", how="torch.nn.attention.sdpa_kernel(SDPBackend.MATH)", apply=_math, exact=True, training=None,
))  # fmt: skip


def _channels_last(recipe: Recipe, settings: Settings) -> Recipe:
    import torch

    last = torch.channels_last

    def lying(value: Any) -> Any:
        return value.contiguous(memory_format=last) if torch.is_tensor(value) and value.dim() == 4 else value

    made = changed(recipe, lambda module: module.to(memory_format=last))
    return dataclasses.replace(
        made, args=tuple(map(lying, recipe.args)), kwargs={k: lying(v) for k, v in recipe.kwargs.items()}
    )


register(Method(
    technique="channels-last", how="module.to(memory_format=torch.channels_last), pictures too", apply=_channels_last, exact=True, training=None,
))  # fmt: skip


def _folded(recipe: Recipe, settings: Settings) -> Recipe:
    def fold(module: Any) -> Any:
        from .folding import fold_norms, reparameterized

        module = reparameterized(module.eval())
        fold_norms(module, recipe.args, dict(recipe.kwargs))
        return module

    return changed(recipe, fold)


def _batch_norms(recipe: Recipe, settings: Settings) -> str:
    import torch

    if any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in _modules(recipe)):
        return ""
    return "the module has no batch norm"


def _modules(recipe: Recipe) -> Iterator[Any]:
    yield from recipe.module.modules()


register(Method(
    technique="reparameterized",
    how="timm.utils.reparameterize_model, then torch.nn.utils.fuse_conv_bn_weights for each norm behind a convolution",
    apply=_folded, refuse=_batch_norms, exact=True,
))  # fmt: skip
