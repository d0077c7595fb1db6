"""Techniques that no method here applies, since their kernels are for GPUs: why not."""

from __future__ import annotations

from collections.abc import Mapping

NVIDIA = "its kernels exist for NVIDIA GPUs"
GPU = "its kernels exist for GPUs"

REASONS: Mapping[str, str] = {
    "flash-attention-1-kernel": GPU, "flash-attention-2": GPU, "flash-attention-3": NVIDIA, "flash-decoding": GPU,
    "flex-attention": GPU, "stream-k": GPU, "megakernel": GPU,
    "fp8": "8-bit floating-point products need a GPU's matrix units, and the library's layers a compiler around them, which would be measured with them",
    "fp8-training": "8-bit floating-point products need a GPU's matrix units",
    "fp4-training": "4-bit floating-point products need a GPU's matrix units", "w4a4kv4": "4-bit products need a GPU's matrix units",
    "nf4": "bitsandbytes' 4-bit kernels exist for GPUs", "qlora": "bitsandbytes' 4-bit kernels exist for GPUs",
    "llm-int8": "bitsandbytes' mixed kernels exist for GPUs", "fused-tile-communication": GPU, "ternary-weights": GPU,
    "lut-weights": GPU,
}  # fmt: skip
