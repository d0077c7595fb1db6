"""Key fields that follow from others: which code lies behind the name a stack gives its kernel.

``sglang_marlin_moe`` and ``vllm_…_marlin_marlinexperts`` are one library's kernel under two names. A block per
``implementation`` learns from both; where a name says nothing, it stands for itself.
"""

from __future__ import annotations

from collections.abc import Mapping

# What a name contains, and the code it then stands for; the first that fits.
IMPLEMENTATIONS = (
    ("marlin", "marlin"), ("min_latency", "min-latency"), ("deepgemm", "deepgemm"), ("oaitriton", "oai-triton"),
    ("triton", "triton"), ("cutlass", "cutlass"), ("nongated", "cutlass"), ("trtllm", "trtllm-gen"), ("xpu", "xpu"),
)  # fmt: skip


def implementation(kernel: str) -> str:
    """The code behind a kernel's name."""
    return next((code for part, code in IMPLEMENTATIONS if part in kernel), kernel)


def field_of(key: Mapping[str, str], name: str) -> str:
    """A field of a class's key, given or derived; blank where it is neither."""
    if name == "implementation" and name not in key:
        return implementation(key.get("kernel", ""))
    return key.get(name, "")
