"""What each cost family's fit sees, and the tables it is fitted to; one file a family. Importing registers them all."""

from . import (
    attention,
    collectives,
    expert_exchange,
    gemm,
    latent,
    layer_modules,
    modules,
    moe,
    quantize,
    recurrent,
    torch_ops,
)

__all__ = [
    "attention", "collectives", "expert_exchange", "gemm", "latent", "layer_modules", "modules", "moe", "quantize",
    "recurrent", "torch_ops",
]  # fmt: skip
