"""Reference modules built on the meta device: their parameters, and their matrix FLOPs by torch's own counter."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from speedlight._foundation.expr import evaluate, total
from speedlight.graph import stats
from speedlight.graph.ir import Graph


def declare_torchvision_ops() -> None:
    """torchvision beside a CPU torch fails to import for want of two declarations, and transformers' models with it."""
    for schema in ("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
                   "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"):  # fmt: skip
        with contextlib.suppress(RuntimeError):  # declared before
            _LIBRARY.define(schema)


_LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
declare_torchvision_ops()


def zeros(*shape: int) -> torch.Tensor:
    return torch.zeros(*shape, device="meta")


def ids(batch: int, length: int) -> torch.Tensor:
    return torch.zeros(batch, length, dtype=torch.long, device="meta")


def transformers_model(config: Mapping[str, Any], cls: str) -> torch.nn.Module:
    """transformers' model of a configuration; eager attention, whose products the counter sees."""
    import transformers

    fields = copy.deepcopy(dict(config))
    kind = fields.pop("model_type")
    fields.pop("architectures", None)
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        made = transformers.AutoConfig.for_model(kind, **fields)
        return getattr(transformers, cls)._from_config(made, attn_implementation="eager").eval()


def diffusers_model(config: Mapping[str, Any]) -> torch.nn.Module:
    import diffusers

    fields = dict(config)
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        return getattr(diffusers, fields.pop("_class_name"))(**fields).eval()


def parameters(model: torch.nn.Module) -> int:
    return sum({id(p): p.numel() for p in model.parameters()}.values())


def flops(model: torch.nn.Module, call: Callable[[Any], Any]) -> int:
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        call(model)
    return counter.get_total_flops()


def our_flops(graph: Graph, count: int, new: int, cached: int = 0, **symbols: float) -> float:
    """Matrix FLOPs of one step under the dense convention, all logits."""
    terms = [
        (work.flops if work.dense is None else work.dense) * op.count * block.count
        for block, op in graph.ops() for work in op.work if work.unit == "matmul"
    ]  # fmt: skip
    env = {**stats.unsharded(graph), **graph.symbols, **symbols, "tokens": count * new, "seqs": count, "groups": 1,
           "logits": count * new, "caching": 0, "training": 0}  # fmt: skip
    return float(evaluate(total(terms), env, [{"count": count, "new": new, "cached": cached}]))
