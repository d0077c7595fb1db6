"""Key fields that follow from others: which code lies behind the name a stack gives its kernel, and what it is written for.

``sglang_marlin_moe`` and ``vllm_…_marlin_marlinexperts`` are one library's kernel under two names. A block per
``implementation`` learns from both; where a name says nothing, it stands for itself.

``instructions`` are those that drive the matrix units of a kind of device. Libraries write kernels for Hopper's and for server
Blackwell's that no other device runs; the rest, desktop Blackwell among them, share kernels for ``mma.sync``.
"""

from __future__ import annotations

from collections.abc import Mapping

# What a name contains, and the code it then stands for; the first that fits.
IMPLEMENTATIONS = (
    ("marlin", "marlin"), ("min_latency", "min-latency"), ("deepgemm", "deepgemm"), ("oaitriton", "oai-triton"),
    ("triton_attn", "vllm-triton"), ("triton", "triton"), ("fused_moe", "triton"), ("cutlass", "cutlass"),
    ("nongated", "cutlass"), ("moe_torch_flow", "cutlass"), ("trtllm", "trtllm-gen"), ("xpu", "xpu"), ("fa2", "flash-attention-2"),
    ("fa3", "flash-attention-3"), ("attention_v3", "flash-attention-3"), ("fa4", "flash-attention-4"),
    ("attention_v4", "flash-attention-4"),
)  # fmt: skip
# vLLM's name before it stated the version, which follows from the device (``vllm_flash_attn/flash_attn_interface.py``).
UNNUMBERED = "vllm_flash_attn"
NUMBERS = {"mma.sync": "flash-attention-2", "wgmma": "flash-attention-3"}

# TensorRT-LLM's one name for all experts where it is not CUTLASS's: times step as trtllm-gen's do (name, instructions, format).
NAMED_ALIKE = ("moe_torch_flow", "tcgen05", "w4a8_mxfp4_mxfp8")

INSTRUCTIONS = {"Hopper-hbm": "wgmma", "Blackwell-hbm": "tcgen05"}  # by architecture, where they are its own
WARPS = ("Volta", "Turing", "Ampere", "Ada", "Blackwell")  # generations whose other devices have mma.sync


def implementation(kernel: str, driven: str = "", number_format: str = "") -> str:
    """The code behind a kernel's name, on a device whose matrix units are ``driven`` by some instructions, for a format."""
    if kernel == UNNUMBERED:
        return NUMBERS.get(driven, kernel)
    if (kernel, driven, number_format) == NAMED_ALIKE:
        return "trtllm-gen"
    return next((code for part, code in IMPLEMENTATIONS if part in kernel), kernel)


def instructions(architecture: str) -> str:
    """The matrix instructions of a kind of device (:func:`.samples.architecture_of`); of other vendors, the kind itself."""
    older = "mma.sync" if architecture.split("-")[0] in WARPS else architecture
    return INSTRUCTIONS.get(architecture, older)


def field_of(key: Mapping[str, str], name: str) -> str:
    """A field of a class's key, given or derived; blank where it is neither."""
    if name in key:
        return key[name]
    if name == "instructions":
        return instructions(key.get("architecture", ""))
    if name == "implementation":
        driven = instructions(key.get("architecture", ""))
        return implementation(key.get("kernel", ""), driven, key.get("format", ""))
    return ""
