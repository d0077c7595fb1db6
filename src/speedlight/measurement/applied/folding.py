"""Batch norms folded into the convolutions before them, found by running the module once."""

from __future__ import annotations

from typing import Any


def reparameterized(module: Any) -> Any:
    """The module with branches of its own merged, where its library knows how (timm's RepVGG, MobileOne, FastViT)."""
    if not any(hasattr(part, "reparameterize") or hasattr(part, "switch_to_deploy") for part in module.modules()):
        return module
    try:
        from timm.utils.model import reparameterize_model
    except ImportError:
        return module
    return reparameterize_model(module, inplace=True)


def fold_norms(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """Fold, in place, each norm whose input is a convolution's output; how many were folded.

    Which norm follows which convolution is seen in one run, so code of any shape is fine. That nothing else reads the output is not
    seen: where something does, results change, which comparing them shows.
    """
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_weights

    pairs: list[tuple[Any, Any]] = []
    made: dict[int, Any] = {}
    alive: list[Any] = []  # outputs, so that no two have one id
    handles = []

    def output(conv: Any, _: Any, out: Any) -> None:
        made[id(out)] = conv
        alive.append(out)

    def entered(norm: Any, inputs: Any) -> None:
        conv = made.get(id(inputs[0]))
        if conv is not None:
            pairs.append((conv, norm))

    for part in module.modules():
        if isinstance(part, (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)):
            handles.append(part.register_forward_hook(output))
        elif isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
            handles.append(part.register_forward_pre_hook(entered))
    with torch.inference_mode():
        module(*args, **kwargs)
    for handle in handles:
        handle.remove()
    for conv, norm in pairs:
        weight, bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        conv.weight, conv.bias = weight, bias
        _behind(module, norm)
    return len(pairs)


def _behind(module: Any, norm: Any) -> None:
    """What stays where a norm was: nothing, or what it does after normalising (timm keeps activations in norms)."""
    import torch

    from .blocks import replaced

    rest = [getattr(norm, name) for name in ("drop", "act") if isinstance(getattr(norm, name, None), torch.nn.Module)]
    rest = [r for r in rest if not isinstance(r, torch.nn.Identity)]
    replaced(module, norm, rest[0] if len(rest) == 1 else torch.nn.Sequential(*rest) if rest else torch.nn.Identity())
