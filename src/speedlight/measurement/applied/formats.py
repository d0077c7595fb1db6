"""Other number formats: autocast, weights or whole linear layers in integers, weights set to zero."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..._foundation.errors import MissingDependency
from ..modules.subject import Recipe
from .method import Method, Settings, changed, register


def _autocast(recipe: Recipe, settings: Settings) -> Recipe:
    return dataclasses.replace(recipe, autocast=settings["format"])


def _wide(recipe: Recipe, settings: Settings) -> str:
    return "it runs in mixed precision already" if recipe.autocast else ""


register(Method(
    technique="mixed-precision", how="torch.autocast around the forward pass", apply=_autocast, refuse=_wide, training=None, settings="format=bf16",
))  # fmt: skip


def _weight_only(recipe: Recipe, settings: Settings) -> Recipe:
    def quantize(module: Any) -> None:
        try:
            from torchao.quantization import Int8WeightOnlyConfig, quantize_
        except ImportError:
            raise MissingDependency("torchao", "quantize", "weight-only quantisation") from None
        quantize_(module, Int8WeightOnlyConfig())

    return changed(recipe, quantize)


def _eight_bits(recipe: Recipe, settings: Settings) -> str:
    if settings["bits"] != 8:
        return f"kernels for weights of {settings['bits']} bits are for GPUs; ask with weight-only-int:bits=8"
    return _linear(recipe, settings)


def _linear(recipe: Recipe, settings: Settings) -> str:
    import torch

    return "" if any(isinstance(m, torch.nn.Linear) for m in recipe.module.modules()) else "it has no linear layers"


register(Method(
    technique="weight-only-int", how="torchao.quantization.quantize_(module, Int8WeightOnlyConfig())",
    apply=_weight_only, refuse=_eight_bits, settings="bits=8",
))  # fmt: skip


def _dynamic(recipe: Recipe, settings: Settings) -> Recipe:
    import warnings

    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the call is deprecated in favour of one that has no kernels for this here
        other = torch.ao.quantization.quantize_dynamic(recipe.module, {torch.nn.Linear}, dtype=torch.qint8)
    return dataclasses.replace(recipe, module=other)


def _on_host(recipe: Recipe, settings: Settings) -> str:
    return _linear(recipe, settings) if recipe.device == "cpu" else "the library's kernels for it are for hosts"


register(Method(
    technique="dynamic-int8", how="torch.ao.quantization.quantize_dynamic(module, {nn.Linear}, dtype=torch.qint8)",
    apply=_dynamic, refuse=_on_host,
))  # fmt: skip


def _pruned(recipe: Recipe, settings: Settings) -> Recipe:
    def prune(module: Any) -> None:
        import torch
        from torch.nn.utils import prune as library

        for part in module.modules():
            if isinstance(part, (torch.nn.Linear, torch.nn.Conv2d)):
                library.l1_unstructured(part, "weight", amount=float(settings["sparsity"]))
                library.remove(part, "weight")

    return changed(recipe, prune)


register(Method(
    technique="masked-pruning", how="torch.nn.utils.prune.l1_unstructured, made permanent with remove",
    apply=_pruned,
))  # fmt: skip
