"""Sorts of kernels and host events, told from their names: the vocabulary of ``ops[].kind`` where it has a word.

Names are all a trace states for sure. The rules go from the particular to the general; what none knows is ``other``.
"""

from __future__ import annotations

import re
from functools import lru_cache

# Kernels of devices, by what libraries call them; the first that matches.
_KERNELS = tuple(
    (sort, re.compile(pattern, re.IGNORECASE))
    for sort, pattern in (
        ("collective", r"nccl|rccl|oneccl|all_?reduce|all_?gather|reduce_?scatter|all_?to_?all|nvshmem|deep_?ep|sendrecv"),
        ("attention", r"flash|fmha|attention|attn|sdpa|mla_|paged"),
        ("norm", r"norm|welford|bn_fw|bn_bw|rms"),
        ("softmax", r"softmax"),
        ("conv", r"conv|wgrad|dgrad|fprop|implicit_gemm|winograd|cudnn.*(engine|nhwc|nchw)|depthwise"),
        ("moe", r"moe|expert|grouped_?gemm"),
        ("matmul", r"gemm|gemv|matmul|cutlass|cublas|xmma|wgmma|hmma|splitk|tensile|Cijk_|dot_kernel"),
        ("quantize", r"quant"),
        ("sort", r"sort|topk|top_k|radix"),
        ("scan", r"scan|cumsum|cumprod|mamba|selective"),
        ("fft", r"fft"),
        ("gather", r"gather|scatter|index|embedding|embed"),
        ("optimizer", r"adam|sgd|lamb|multi_tensor"),
        ("copy", r"copy|transpose|nchwToNhwc|nhwcToNchw|cat_|CatArray|permute|memcpy|memset|fill"),
        ("reduction", r"reduce|sum_kernel|mean_kernel|argmax"),
        ("elementwise", r"elementwise|vectorized|unrolled|pointwise|triton_poi|gelu|relu|silu|add_kernel|mul_kernel|dropout"),
        ("reduction", r"triton_(red|per)"),
    )
)  # fmt: skip

# Operators of a host that compute; the same, by PyTorch's names without namespace and trailing marks.
_OPS = tuple(
    (sort, re.compile(pattern))
    for sort, pattern in (
        ("collective", r"all_?reduce|all_?gather|reduce_?scatter|all_?to_?all|broadcast_|barrier|^send|^recv|param_comms"),
        ("attention", r"attention|sdpa|rescale_qkv"),
        ("conv", r"conv"),
        ("norm", r"norm"),
        ("softmax", r"softmax"),
        ("matmul", r"^(addmm|mm|bmm|baddbmm|addbmm|matmul|linear|addmv|mv|dot|_addmm_activation|mkldnn_linear|einsum)|lstm|gru|gemm"),
        ("embedding", r"^embedding"),
        ("gather", r"gather|index|scatter|take"),
        ("sort", r"sort|topk|unique"),
        ("scan", r"cumsum|cumprod|cummax"),
        ("fft", r"fft"),
        ("copy", r"copy|^clone|^contiguous|^cat|^stack|^pad|constant_pad|^repeat|^fill|^zero|roll"),
        ("optimizer", r"^_fused_|^_foreach_"),
        ("reduction", r"^(sum|mean|max|min|amax|amin|argmax|argmin|prod|std|var|any|all|count_nonzero|norm)$|pool"),
        ("reduction", r"nll_loss|cross_entropy|mse_loss"),
    )
)  # fmt: skip

# Operators that only describe a tensor: their time is the host's.
_VIEWS = frozenset(
    [
        "view",
        "_unsafe_view",
        "reshape",
        "as_strided",
        "expand",
        "expand_as",
        "transpose",
        "t",
        "permute",
        "squeeze",
        "unsqueeze",
        "slice",
        "select",
        "narrow",
        "split",
        "chunk",
        "unbind",
        "detach",
        "alias",
        "flatten",
        "unflatten",
        "movedim",
        "swapaxes",
        "diagonal",
        "unfold",
        "view_as",
        "lift_fresh",
        "empty",
        "empty_like",
        "empty_strided",
        "new_empty",
        "resize_",
        "set_",
        "to",
        "_to_copy",
        "is_nonzero",
        "result_type",
        "can_cast",
        "_local_scalar_dense",
        "item",
        "_reshape_alias",
        "numpy_t",
        "zeros",
        "zeros_like",
        "ones",
        "ones_like",
        "full",
        "full_like",
        "arange",
        "scalar_tensor",
        "resolve_conj",
        "resolve_neg",
        "conj",
        "is_same_size",
        "size",
        "stride",
    ]
)

# Operators that run a kernel of their own even where others run inside them (a bias copied into place before a product).
_OWN = frozenset(
    [
        "addmm",
        "mm",
        "bmm",
        "baddbmm",
        "addbmm",
        "addmv",
        "mv",
        "dot",
        "_addmm_activation",
        "mkldnn_linear",
        "mkldnn_convolution",
    ]
)

# Calls in which the host waits for the device.
_WAITS = re.compile(
    r"synchronize|EventQuery|^cudaMemcpy$|^hipMemcpy$|cuMemcpy(DtoH|HtoD)(_v2)?$|_local_scalar_dense|::item$",
    re.IGNORECASE,
)
_LOADING = re.compile(
    r"DataLoader.*(__next__|_next_data)|dataloader|data_?loading|fetch_?batch|next_?batch", re.IGNORECASE
)
_HOST_MESSAGE = re.compile(r"^(gloo|mpi):", re.IGNORECASE)
_MESSAGE = re.compile(r"^(gloo|nccl|mpi|ucc|xccl):", re.IGNORECASE)


@lru_cache(maxsize=65536)
def kernel_sort(name: str) -> str:
    """Of a device's kernel."""
    return next((sort for sort, pattern in _KERNELS if pattern.search(name)), "other")


@lru_cache(maxsize=65536)
def op_sort(name: str) -> str:
    """Of a host's operator: ``view`` for those that compute nothing."""
    bare = name.rsplit("::", 1)[-1]
    if bare in _VIEWS or bare.rstrip("_") in _VIEWS:
        return "view"
    return next((sort for sort, pattern in _OPS if pattern.search(bare)), "elementwise")


def has_kernel(name: str) -> bool:
    """Whether an operator of this name computes by itself, whatever it calls besides."""
    return name.rsplit("::", 1)[-1] in _OWN


def waits(name: str) -> bool:
    """Whether the host waits for the device in a call of this name."""
    return bool(_WAITS.search(name))


def loads(name: str) -> bool:
    """Whether an annotation of this name spans the wait for the next batch."""
    return bool(_LOADING.search(name))


def is_message(name: str) -> bool:
    """Whether an annotation of this name spans a collective on a thread of its own."""
    return bool(_MESSAGE.search(name)) and "barrier" not in name


def by_host(name: str) -> bool:
    """Whether an annotation of this name spans a collective that the host carries out, also between devices: of others the host's
    annotation is but the call that starts kernels."""
    return is_message(name) and bool(_HOST_MESSAGE.search(name))
