"""What each cost family's fit sees, and the tables it is fitted to; one file a family. Importing registers them all."""

from . import (
    attention,
    collectives,
    collectives_in_models,
    expert_exchange,
    experts_in_models,
    gemm,
    latent,
    latent_in_models,
    layer_modules,
    module_kernels,
    modules,
    moe,
    quantize,
    quantize_in_models,
    recurrent,
    recurrent_in_models,
    torch_in_models,
    torch_ops,
)

__all__ = [
    "attention", "collectives", "collectives_in_models", "expert_exchange", "experts_in_models", "gemm", "latent",
    "latent_in_models", "layer_modules", "module_kernels", "modules", "moe", "quantize", "quantize_in_models", "recurrent",
    "recurrent_in_models", "torch_in_models", "torch_ops",
]  # fmt: skip
