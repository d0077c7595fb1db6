"""The parts of a layer as op sequences: attention, latent attention, feed-forwards, experts, recurrences.

Each part is a function ``(ctx, block, spec, x) -> output name``, found by the type of its spec and imported when the
first model needs it. Legend: T tokens, D hidden, H query heads, G KV heads, E experts, F feed-forward width, N state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, TypeVar

from ...._foundation.expr import Expr, sym
from ....graph.builder import BlockBuilder
from ....graph.ir import Dim
from ...formats import Formats

# Spec type → module of this package that builds it.
_MODULES = {
    "Attention": "attention", "Mla": "latent", "CompressedAttention": "compressed", "Mlp": "feedforward",
    "Moe": "experts", "DenseAndMoe": "experts", "Mamba1": "mamba", "Mamba2": "mamba", "DeltaNet": "delta_net",
    "CrossAttention": "cross", "Disentangled": "disentangled", "Rwkv": "linear_state",
    "ChannelMix": "linear_state", "Retention": "linear_state",
}  # fmt: skip


@dataclass
class Context:
    """What the parts of one model share while it is built.

    Attributes:
        hidden: the model's width.
        formats: number formats of the block being built.
        dims: the divisible dimensions found so far; one dictionary for all blocks.
        residual: the block's input before the norm a part reads from, for parts that need both.
    """

    hidden: int
    formats: Formats
    dims: dict[str, Dim] = field(default_factory=dict)
    residual: str = ""

    def dim(self, name: str, size: int, role: str) -> tuple[Expr, str]:
        """A divisible dimension as (symbol, name); equal sizes share a name, others get a suffix."""
        key, number = name, 1
        while key in self.dims and self.dims[key].size != size:
            number += 1
            key = f"{name}_{number}"
        self.dims[key] = Dim(size, role)
        return sym(key), key

    def within(self, formats: Formats) -> Context:
        """The same model, other formats (layers of mixed precision)."""
        return self if formats == self.formats else replace(self, formats=formats)


Part = Callable[..., str]  # (ctx, block, spec, x, …) → output
AnyPart = TypeVar("AnyPart", bound=Part)
PARTS: dict[type, Part] = {}


def part(spec_type: type) -> Callable[[AnyPart], AnyPart]:
    """Register the function that builds specs of this type."""

    def keep(function: AnyPart) -> AnyPart:
        PARTS[spec_type] = function
        return function

    return keep


def build_part(ctx: Context, b: BlockBuilder, spec: Any, x: str) -> str:
    """Append the ops of one part; returns the name of its output."""
    kind = type(spec)
    if kind not in PARTS:
        import_module(f".{_MODULES[kind.__name__]}", __name__)
    return PARTS[kind](ctx, b, spec, x)


def linear(ctx: Context, b: BlockBuilder, name: str, x: str, n: Any, k: Any, **options: Any) -> str:
    """A linear layer in the model's formats for that module path."""
    path = f"{b.path}.{name}"
    options.setdefault("weight_format", ctx.formats.weight(path))
    options.setdefault("activation_format", ctx.formats.activation(path))
    return b.linear(name, x, n, k, **options)


def plain_linear(ctx: Context, b: BlockBuilder, name: str, x: str, n: Any, k: Any, **options: Any) -> str:
    """A linear layer that recipes leave unquantised (routers, gates, small projections)."""
    return b.linear(name, x, n, k, weight_format=ctx.formats.dtype, activation_format=ctx.formats.dtype, **options)
